import { loginName } from '../placement/tenant-names.ts'
import type { Db } from '../pool/statement.ts'
import { listCredentials } from './credential-store.ts'

const PAGE = 200
const FIRST = '00000000-0000-0000-0000-000000000000'

/**
 * loginsOf names the logins of all tenants of a data server that have some of their own, a page at a time.
 * @throws LessorError CONTROL_UNAVAILABLE
 */
export async function* loginsOf(db: Db, server: string): AsyncGenerator<readonly string[]> {
  for (let after = FIRST; ; ) {
    const tenants = await listCredentials(db, { server, after, limit: PAGE })
    yield tenants.flatMap(({ colours, tenantId }) => colours.map((colour) => loginName(tenantId, colour)))
    const last = tenants.at(-1)
    if (last === undefined || tenants.length < PAGE) return
    after = last.tenantId
  }
}
