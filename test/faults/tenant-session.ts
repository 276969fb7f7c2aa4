import postgres from 'postgres'
import type { Lessor } from '../../src/lessor.ts'

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => Promise<void>): void
}

/** tenantSession opens one session by a tenant's own database login, as the holder of a leaked one would; ended with `t`. */
export async function tenantSession(t: Scope, lessor: Lessor, tenantId: string): Promise<postgres.Sql> {
  const { generation } = await lessor.tenants.get(tenantId)
  const target = await lessor.locate({ tenantId, generation }, AbortSignal.timeout(60_000))
  const { host, port, database, user, password } = target
  const options = { host, port, database, user, password: password.reveal(), max: 1, max_lifetime: null }
  const session = postgres({ ...options, onnotice: () => {} })
  t.teardown(() => session.end({ timeout: 1 }))
  await session`select 1`
  return session
}
