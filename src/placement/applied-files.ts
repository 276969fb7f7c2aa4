import { type Db, sql } from '../pool/statement.ts'
import type { AppliedFile } from './data-files.ts'

/** sharedFiles lists what the tables that tenants share have got of sql/app; nothing on a server that is not prepared. */
export async function sharedFiles(admin: Db): Promise<readonly AppliedFile[]> {
  const [row] = await admin.query<{ present: boolean }>(sql`
    select to_regclass('lessor.app_migrations') is not null as present`)
  if (row?.present !== true) return []
  return admin.query<AppliedFile>(sql`
    select version, name, checksum from lessor.app_migrations order by version`)
}
