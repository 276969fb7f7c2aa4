import { type ScriptDb, sql } from '../pool/statement.ts'
import type { Migration } from './migrate.ts'

/** In the first release the walls were a file of sql/app, so that its numbers were one higher. */
const EARLIER_WALLS = '000001-protect'

/**
 * adoptEarlierLedger takes the walls out of a ledger of sql/app that the first release wrote, and moves its other
 * lines one number down. The first file's text has changed with that, the table it makes has not.
 */
export async function adoptEarlierLedger(admin: ScriptDb, migrations: readonly Migration[]): Promise<void> {
  await admin.transaction(async (tx) => {
    const [row] = await tx.query<{ present: boolean }>(
      sql`select to_regclass('lessor.app_migrations') is not null as present`,
    )
    if (row?.present !== true) return
    // Of several starters the first adopts, and the others find it done.
    await tx.query(sql`lock table lessor.app_migrations in share row exclusive mode`)
    const gone = await tx.query(sql`
      delete from lessor.app_migrations where version = 1 and name = ${EARLIER_WALLS} returning 1`)
    if (gone.length === 0) return
    const rows = await tx.query<{ version: number; name: string }>(
      sql`select version, name from lessor.app_migrations order by version`,
    )
    for (const { version, name } of rows) {
      const renamed = name.replace(/^\d{6}/, String(version - 1).padStart(6, '0'))
      const first = version === 2 ? migrations[0]?.checksum : undefined
      await tx.query(sql`
        update lessor.app_migrations
        set version = ${version - 1}, name = ${renamed}, checksum = coalesce(${first ?? null}, checksum)
        where version = ${version}`)
    }
  })
}
