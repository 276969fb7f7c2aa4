import { errorCode } from '../pool/driver-errors.ts'
import { type Db, ident, sql } from '../pool/statement.ts'
import { brokenRules, notWalledIn, tablesWithForeignRows } from './check-walls.ts'
import { ROW_RUNTIME } from './group-roles.ts'
import { tenantTables } from './tenant-tables.ts'

/** undefined_object: the setting is missing. invalid_text_representation: it is no UUID, as '' is none. */
const FAILS_CLOSED = new Set(['42704', '22P02'])

/**
 * checkRuntime proves over a session of the runtime login of placement `row`, on a connection that nobody else uses,
 * that it may nothing beyond its group, that it sees no row while `rls.tenant_id` is missing, empty or
 * malformed, and none of others while it is bound to the given tenant.
 * @throws LessorError INTERNAL that names the rules that do not hold
 */
export async function checkRuntime(db: Db, tenantId: string): Promise<void> {
  const broken = [
    ...(await brokenRules(
      db,
      ROW_RUNTIME,
      sql`
      ('the role is not named as the runtime login is', current_user ~ '^lessor_row_[0-9a-f]{12}$'),
      ('rls.tenant_id is set before any transaction', coalesce(current_setting('rls.tenant_id', true), '') = '')`,
    )),
  ]
  if (broken.length === 0) {
    broken.push(...(await openTables(db, 'without rls.tenant_id', async () => {})))
    for (const value of [sql`set local rls.tenant_id = ''`, sql`set local rls.tenant_id = 'everybody'`]) {
      broken.push(...(await openTables(db, 'with a malformed rls.tenant_id', (tx) => tx.query(value))))
    }
    broken.push(...(await inTransaction(db, (tx) => seenByTenant(tx, tenantId))))
  }
  if (broken.length > 0) throw notWalledIn('The runtime login of placement "row"', broken)
}

async function openTables(
  db: Db,
  when: string,
  set: (tx: Db) => Promise<unknown>,
): Promise<readonly string[]> {
  const open: string[] = []
  for (const { name, readable } of await tenantTables(db)) {
    if (!readable) continue
    const failure = await inTransaction(db, async (tx) => {
      await set(tx)
      await tx.query(sql`select 1 from app.${ident(name)} limit 1`)
    }).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failure === undefined) open.push(`${name} can be read ${when}`)
    else if (!FAILS_CLOSED.has(errorCode(failure) ?? '')) throw failure
  }
  return open
}

async function seenByTenant(db: Db, tenantId: string): Promise<readonly string[]> {
  await db.query(sql`select set_config('rls.tenant_id', ${tenantId}, true)`)
  try {
    return await tablesWithForeignRows(db, tenantId)
  } catch (error) {
    // Where tables are distributed only SET LOCAL reaches the workers: what is not bound there shows nothing.
    if (FAILS_CLOSED.has(errorCode(error) ?? '')) return []
    throw error
  }
}

const ROLLED_BACK = new Error('rolled back')

/** Always rolled back. */
async function inTransaction<T>(db: Db, fn: (tx: Db) => Promise<T>): Promise<T> {
  const found: T[] = []
  await db
    .transaction(async (tx) => {
      found.push(await fn(tx))
      throw ROLLED_BACK
    })
    .catch((error: unknown) => {
      if (error !== ROLLED_BACK) throw error
    })
  return found[0] as T
}
