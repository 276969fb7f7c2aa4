import { errorCode } from '../pool/driver-errors.ts'
import { ident, type ScriptDb, sql } from '../pool/statement.ts'
import { isCitus, keeperScripts } from './citus.ts'
import { tenantTables } from './tenant-tables.ts'

/** Rows that one transaction deletes at most, so that locks are short and a cut costs little. */
const BATCH_ROWS = 5_000
const FOREIGN_KEY_VIOLATION = '23503'

/**
 * removeRows deletes a tenant's rows from every table of schema app and resolves with their number.
 * It works as the keeper bound to this tenant, so that row level security stands between it and
 * everybody else's rows even for a superuser.
 */
export async function removeRows(admin: ScriptDb, tenantId: string): Promise<number> {
  const bind = keeperScripts(tenantId, await isCitus(admin))
  let removed = 0
  let tables = (await tenantTables(admin)).map((table) => table.name)
  while (tables.length > 0) {
    const blocked: string[] = []
    let obstacle: unknown
    for (const table of tables) {
      try {
        let rows: number
        do {
          rows = await removeBatch(admin, tenantId, table, bind)
          removed += rows
        } while (rows === BATCH_ROWS)
      } catch (error) {
        if (errorCode(error) !== FOREIGN_KEY_VIOLATION) throw error
        // Another table refers to this one; its turn comes again after that one.
        blocked.push(table)
        obstacle = error
      }
    }
    if (blocked.length === tables.length) throw obstacle
    tables = blocked
  }
  return removed
}

async function removeBatch(
  admin: ScriptDb,
  tenantId: string,
  table: string,
  bind: readonly string[],
): Promise<number> {
  return admin.transaction(async (tx) => {
    for (const script of bind) await tx.script(script)
    const target = sql`app.${ident(table)}`
    // In a partitioned table one ctid may name several rows; they are all this tenant's.
    const [row] = await tx.query<{ rows: number }>(sql`
      with gone as (
        delete from ${target}
        where tenant_id = ${tenantId}::uuid
          and ctid = any (array(
            select ctid from ${target} where tenant_id = ${tenantId}::uuid limit ${BATCH_ROWS}::integer))
        returning 1
      )
      select count(*)::integer as rows from gone`)
    return row?.rows ?? 0
  })
}
