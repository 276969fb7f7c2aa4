import { type ScriptDb, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import type { OwnSpace } from './check-own-walls.ts'
import type { AppliedFile } from './data-files.ts'
import { dropContents } from './drop-contents.ts'
import { ensureGroupRoles } from './group-roles.ts'
import { OwnPlacement } from './own-placement.ts'
import { ensureOwnSchema, migrateOwnTables } from './own-tables.ts'
import type { AdminDb, Colour, Login, MigrateTenantOptions } from './placement.ts'
import { requireSafeVersion } from './server-version.ts'
import { canonical, loginName, ownerName, spaceName } from './tenant-names.ts'

/**
 * SchemaPlacement gives each tenant a schema of its own, `t_<32 hex digits>`, in the data server's database, and
 * logins of its own that may use no other. The tenant may make what it likes in there, by SET ROLE to its
 * owner role, but cannot let others in: the schema is not that role's.
 */
export class SchemaPlacement extends OwnPlacement {
  readonly name = 'schema'

  /** @throws LessorError PLACEMENT_UNAVAILABLE when the server cannot keep tenants apart */
  async prepare(admin: AdminDb): Promise<void> {
    await requireSafeVersion(admin)
    await ensureGroupRoles(admin)
    await this.files.walls(admin)
  }

  login(tenantId: string, colour: Colour): Login {
    const id = canonical(tenantId)
    return {
      user: loginName(id, colour),
      parameters: { 'rls.tenant_id': id, search_path: spaceName(id) },
    }
  }

  async migrate(
    admin: AdminDb,
    tenantId: string,
    { dryRun = false, ...limits }: MigrateTenantOptions,
  ): Promise<readonly string[]> {
    const id = canonical(tenantId)
    const schema = spaceName(id)
    const missing = await this.files.missing(await applied(admin, schema))
    if (dryRun || missing.length === 0) return missing
    return migrateOwnTables(admin, this.files, { tenantId: id, schema, ...limits })
  }

  protected space(id: string): OwnSpace {
    return { schema: spaceName(id), ownsDatabase: false }
  }

  protected makeSpace(admin: AdminDb, id: string): Promise<void> {
    return ensureOwnSchema(admin, id, spaceName(id))
  }

  protected dropSpace(admin: AdminDb, tenantId: string): Promise<void> {
    return dropSchema(admin, spaceName(tenantId), ownerName(tenantId))
  }
}

async function applied(admin: ScriptDb, schema: string): Promise<readonly AppliedFile[]> {
  return admin.query<AppliedFile>(sql`
    select version, name, checksum from lessor.schema_migrations where schema_name = ${schema} order by version`)
}

/** The schema's owner may drop whatever the tenant has made in it, and no code of the tenant's runs at that. */
async function dropSchema(admin: ScriptDb, schema: string, owner: string): Promise<void> {
  await dropContents(admin, schema, owner)
  await afterClashes(() =>
    admin.transaction(async (tx) => {
      const [row] = await tx.query<{ script: string }>(
        sql`select format('drop schema if exists %I cascade', ${schema}::text) as script`,
      )
      await tx.script(row?.script ?? '')
      await tx.query(sql`delete from lessor.schema_migrations where schema_name = ${schema}`)
    }),
  )
}
