import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { DataFiles } from '../placement/data-files.ts'
import { type Db, sql } from '../pool/statement.ts'
import { adoptEarlierLedger } from './adopt-ledger.ts'
import {
  type AppliedRow,
  type Ledger,
  type Migration,
  migrate,
  missingMigrations,
  readMigrations,
} from './migrate.ts'

const WALLS = new URL('../../sql/walls/', import.meta.url)
const APP = new URL('../../sql/app/', import.meta.url)
const WALLS_LEDGER = 'lessor.wall_migrations'
const APP_LEDGER = 'lessor.app_migrations'

/** The ledger of the tenant that a session migrates, which that session reaches by functions alone. */
const OWN_LEDGER: Ledger = {
  // In sql/walls.
  ensure: async () => {},
  applied: (db: Db) => db.query<AppliedRow>(sql`select version, name, checksum from lessor.own_migrations()`),
  async claim(tx, { version, name, checksum }) {
    const [row] = await tx.query<{ claimed: boolean }>(
      sql`select lessor.claim_own_migration(${version}, ${name}, ${checksum}) as claimed`,
    )
    return row?.claimed === true
  },
}

/** dataFiles are the files of sql/walls and of sql/app, or of another folder that stands for it. */
export function dataFiles(folder: URL | string = APP): DataFiles {
  const app = typeof folder === 'string' ? pathToFileURL(join(folder, '/')) : folder
  return {
    walls: async (admin) =>
      names(await migrate(admin, await readMigrations(WALLS), { ledger: WALLS_LEDGER })),
    async sharedTables(admin) {
      const migrations = await readMigrations(app)
      await adoptEarlierLedger(admin, migrations)
      const before = (tx: { script(text: string): Promise<void> }) => tx.script('set local search_path = app')
      // While the fleet migrates, a node of the older version may start as well.
      return names(await migrate(admin, migrations, { ledger: APP_LEDGER, before, acceptsNewer: true }))
    },
    ownTables: async (session, { tenantId, schema, owner, lockTimeoutMs }) =>
      names(
        await migrate(session, await readMigrations(app), {
          ledger: OWN_LEDGER,
          before: async (tx) => {
            await tx.query(sql`
              select set_config('role', ${owner}, true), set_config('search_path', ${schema}, true),
                set_config('rls.tenant_id', ${tenantId}, true),
                set_config('lock_timeout', ${String(lockTimeoutMs)}, true)`)
          },
        }),
      ),
    missing: async (applied) => names(missingMigrations(applied, await readMigrations(app))),
  }
}

function names(migrations: readonly Migration[]): readonly string[] {
  return migrations.map(({ name }) => name)
}
