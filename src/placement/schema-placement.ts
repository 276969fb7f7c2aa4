import { type Db, type ScriptDb, sql } from '../pool/statement.ts'
import { otherColour } from '../tenants/tenant.ts'
import { afterClashes } from './after-clashes.ts'
import { checkOwnWalls } from './check-own-walls.ts'
import type { AppliedFile, DataFiles } from './data-files.ts'
import { ensureGroupRoles } from './group-roles.ts'
import {
  closeOwnLogins,
  dropOwnRoles,
  ensureOwnRoles,
  ensureOwnSchema,
  hasLogin,
  migrateOwnTables,
} from './own-tables.ts'
import type {
  AdminDb,
  Colour,
  Login,
  MigrateTenantOptions,
  Placement,
  ProvisionRequest,
} from './placement.ts'
import { requireSafeVersion } from './server-version.ts'
import { dropLogin, ensureLogin } from './tenant-logins.ts'
import { canonical, loginName, ownerName, spaceName, userName } from './tenant-names.ts'

export interface SchemaPlacementOptions {
  readonly files: DataFiles
}

/**
 * SchemaPlacement gives each tenant a schema of its own, `t_<32 hex digits>`, in the data server's database, and
 * logins of its own that may use no other. The tenant may make what it likes in there, by SET ROLE to its
 * owner role, but cannot let others in: the schema is not that role's.
 */
export class SchemaPlacement implements Placement {
  readonly name = 'schema'
  readonly hasOwnLogin = true
  readonly hasOwnTables = true
  readonly #files: DataFiles

  constructor({ files }: SchemaPlacementOptions) {
    this.#files = files
  }

  /** @throws LessorError PLACEMENT_UNAVAILABLE when the server cannot keep tenants apart */
  async prepare(admin: AdminDb): Promise<void> {
    await requireSafeVersion(admin)
    await ensureGroupRoles(admin)
    await this.#files.walls(admin)
  }

  /**
   * The tables are made before the first login, so that a tenant that can log in has them.
   * @throws TypeError when `verifier` is not a SCRAM verifier
   */
  async provision(admin: AdminDb, { tenantId, colour, verifier, limits }: ProvisionRequest): Promise<void> {
    const id = canonical(tenantId)
    const isNew = !(await hasLogin(admin, id))
    await ensureOwnRoles(admin, id, { usesServerDatabase: true })
    await ensureOwnSchema(admin, id, spaceName(id))
    if (isNew) await this.migrate(admin, id, { lockTimeoutMs: 0 })
    const role = {
      name: loginName(id, colour),
      tenantId: id,
      group: userName(id),
      owner: ownerName(id),
      searchPath: spaceName(id),
    }
    await ensureLogin(admin, role, { verifier, limits })
  }

  login(tenantId: string, colour: Colour): Login {
    const id = canonical(tenantId)
    return {
      user: loginName(id, colour),
      parameters: { 'rls.tenant_id': id, search_path: spaceName(id) },
    }
  }

  /** @throws LessorError INTERNAL that names the rules that do not hold */
  async check(db: Db, tenantId: string): Promise<void> {
    const id = canonical(tenantId)
    await checkOwnWalls(db, id, { schema: spaceName(id), ownsDatabase: false })
  }

  /** Its rows go with its schema. */
  async removeRows(): Promise<number> {
    return 0
  }

  async withdraw(admin: AdminDb, tenantId: string, colour: Colour): Promise<void> {
    await dropLogin(admin, loginName(tenantId, colour), loginName(tenantId, otherColour(colour)))
  }

  async unprovision(admin: AdminDb, tenantId: string): Promise<void> {
    await closeOwnLogins(admin, tenantId)
    await dropSchema(admin, spaceName(tenantId))
    await dropOwnRoles(admin, tenantId)
  }

  async migrate(
    admin: AdminDb,
    tenantId: string,
    { dryRun = false, ...limits }: MigrateTenantOptions,
  ): Promise<readonly string[]> {
    const id = canonical(tenantId)
    const schema = spaceName(id)
    const missing = await this.#files.missing(await applied(admin, schema))
    if (dryRun || missing.length === 0) return missing
    return migrateOwnTables(admin, this.#files, { tenantId: id, schema, ...limits })
  }
}

async function applied(admin: ScriptDb, schema: string): Promise<readonly AppliedFile[]> {
  return admin.query<AppliedFile>(sql`
    select version, name, checksum from lessor.schema_migrations where schema_name = ${schema} order by version`)
}

/** The schema's owner may drop whatever the tenant has made in it, and no code of the tenant's runs at that. */
async function dropSchema(admin: ScriptDb, schema: string): Promise<void> {
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
