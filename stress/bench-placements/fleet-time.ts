import { cp, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseMigrateArgs } from '../../src/cli/migrate-options.ts'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logger.ts'
import { createLessor, type Lessor } from '../../src/lessor.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import type { House, PerPlacement } from './house.ts'

const APP = fileURLToPath(new URL('../../sql/app/', import.meta.url))

const NOTES = `
create table notes (
  tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
  id uuid not null default gen_random_uuid(),
  text text not null,
  primary key (tenant_id, id)
);
select lessor.protect('notes');
`

/**
 * measureFleet brings one more table to all tenants as `lessor migrate` does with its defaults, and resolves with
 * how long that took, in milliseconds. The tables that row and role share get it once, whoever asks first.
 */
export async function measureFleet(house: House): Promise<PerPlacement<number>> {
  house.onProgress('migrating the fleet: one more table')
  const files = join(house.folder, 'app')
  await mkdir(files)
  await cp(APP, files, { recursive: true })
  const next = (await readdir(files)).filter((name) => name.endsWith('.sql')).length + 1
  await writeFile(join(files, `${String(next).padStart(6, '0')}-notes.sql`), NOTES)
  const config = loadConfig({
    DATABASE_URL: house.databaseUrl,
    OPERATOR_KEY: house.operatorKey,
    VAULT_KEYS: house.vaultKeys,
    LOG_LEVEL: 'error',
    APP_SQL_DIR: files,
  })
  const { logger } = createLogger(config.logLevel, process.stderr)
  const lessor = createLessor(config, { logger })
  try {
    await lessor.open('control')
    const shared = await migrate(lessor, house.signal, 'role')
    return {
      row: shared,
      role: shared,
      schema: await migrate(lessor, house.signal, 'schema'),
      database: await migrate(lessor, house.signal, 'database'),
    }
  } finally {
    await lessor.close()
  }
}

async function migrate({ fleet }: Lessor, signal: AbortSignal, placement: PlacementName): Promise<number> {
  const { fleet: options } = parseMigrateArgs([])
  const filter = { servers: [], placements: [placement], tenants: [] }
  const report = await fleet.migrate({ filter, options: { ...options, canaries: [] } }, () => {}, signal)
  signal.throwIfAborted()
  if (report.state !== 'finished')
    throw new Error(`the migration of placement ${placement} stopped: ${report.reason}`)
  return report.ms
}
