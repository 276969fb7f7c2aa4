import { randomInt } from 'node:crypto'
import { answerWithin } from '../control/answer-within.ts'
import { type Db, sql } from '../pool/statement.ts'
import type { KnownServer } from './known-server.ts'

/** Whoever does not answer by then is not looked at. */
const PATIENCE_MS = 2_000
/** Keys of two integers, of which the first is ours; locks of two integers and of one do not meet. */
const SPACE = 1_280_463_699

/**
 * findTwin names the data server that is the same database as this one, whatever name or address leads to it:
 * where a lock that one has taken is not to be had by the other.
 */
export async function findTwin(admin: Db, servers: readonly KnownServer[]): Promise<string | undefined> {
  const key = randomInt(2 ** 31)
  return admin.transaction(async (tx) => {
    await tx.query(sql`select pg_advisory_xact_lock(${SPACE}::integer, ${key}::integer)`)
    const found = await Promise.all(
      servers.map(async (server) => {
        const locked = await answerWithin(isLocked(server, key), PATIENCE_MS).catch(() => false)
        return locked ? server.name : undefined
      }),
    )
    return found.find((name) => name !== undefined)
  })
}

async function isLocked(server: KnownServer, key: number): Promise<boolean> {
  const [row] = await (await server.admin()).query<{ free: boolean }>(sql`
    select pg_try_advisory_xact_lock(${SPACE}::integer, ${key}::integer) as free`)
  return row?.free === false
}
