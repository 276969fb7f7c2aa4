import { LessorError } from '../errors.ts'
import { type Db, type ScriptDb, sql } from '../pool/statement.ts'
import { otherColour } from '../tenants/tenant.ts'
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
import { dropDatabase, ensureDatabase, hasDatabase } from './tenant-database.ts'
import { dropLogin, ensureLogin } from './tenant-logins.ts'
import { canonical, loginName, ownerName, spaceName, userName } from './tenant-names.ts'

/** What holds the tables in a tenant's own database. */
const SCHEMA = 'app'

export interface DatabasePlacementOptions {
  readonly files: DataFiles
}

/**
 * DatabasePlacement gives each tenant a database of its own, `t_<32 hex digits>`, on the data server, to which
 * nobody else may connect. The tenant may make what it likes in schema app of it, by SET ROLE to its owner
 * role. Database and schema belong to the administrator's side, so that a tenant cannot let others in.
 */
export class DatabasePlacement implements Placement {
  readonly name = 'database'
  readonly hasOwnLogin = true
  readonly hasOwnTables = true
  readonly #files: DataFiles

  constructor({ files }: DatabasePlacementOptions) {
    this.#files = files
  }

  /** @throws LessorError PLACEMENT_UNAVAILABLE when the server cannot keep tenants apart, or makes no databases */
  async prepare(admin: AdminDb): Promise<void> {
    await requireSafeVersion(admin)
    await ensureGroupRoles(admin)
    const [row] = await admin.query<{ allowed: boolean }>(
      sql`select rolsuper or rolcreatedb as allowed from pg_roles where rolname = current_user`,
    )
    if (row?.allowed !== true) {
      throw new LessorError(
        'PLACEMENT_UNAVAILABLE',
        "The data server's administrator may not create databases (ALTER ROLE ... CREATEDB allows it).",
      )
    }
  }

  /**
   * The database and its tables are made before the first login, so that a tenant that can log in has them.
   * CREATE DATABASE is no part of a transaction: what is there already is taken over, what is half there is made anew.
   * @throws TypeError when `verifier` is not a SCRAM verifier
   */
  async provision(admin: AdminDb, { tenantId, colour, verifier, limits }: ProvisionRequest): Promise<void> {
    const id = canonical(tenantId)
    const isNew = !(await hasLogin(admin, id))
    await ensureOwnRoles(admin, id, { usesServerDatabase: false })
    await ensureDatabase(admin, spaceName(id), userName(id))
    if (isNew) {
      await admin.inDatabase(spaceName(id), (db) => this.#furnish(db, id))
      await this.migrate(admin, id, { lockTimeoutMs: 0 })
    }
    const role = {
      name: loginName(id, colour),
      tenantId: id,
      group: userName(id),
      owner: ownerName(id),
      searchPath: SCHEMA,
    }
    await ensureLogin(admin, role, { verifier, limits })
  }

  login(tenantId: string, colour: Colour): Login {
    const id = canonical(tenantId)
    return {
      user: loginName(id, colour),
      database: spaceName(id),
      parameters: { 'rls.tenant_id': id, search_path: SCHEMA },
    }
  }

  /** @throws LessorError INTERNAL that names the rules that do not hold */
  async check(db: Db, tenantId: string): Promise<void> {
    await checkOwnWalls(db, canonical(tenantId), { schema: SCHEMA, ownsDatabase: true })
  }

  /** Its rows go with its database. */
  async removeRows(): Promise<number> {
    return 0
  }

  async withdraw(admin: AdminDb, tenantId: string, colour: Colour): Promise<void> {
    await dropLogin(admin, loginName(tenantId, colour), loginName(tenantId, otherColour(colour)))
  }

  async unprovision(admin: AdminDb, tenantId: string): Promise<void> {
    await closeOwnLogins(admin, tenantId)
    await dropDatabase(admin, spaceName(tenantId))
    await dropOwnRoles(admin, tenantId)
  }

  async migrate(
    admin: AdminDb,
    tenantId: string,
    { dryRun = false, ...limits }: MigrateTenantOptions,
  ): Promise<readonly string[]> {
    const id = canonical(tenantId)
    const database = spaceName(id)
    if (dryRun && !(await hasDatabase(admin, database))) return this.#files.missing([])
    const missing = await admin.inDatabase(database, async (db) => {
      if (!dryRun) await this.#files.walls(db)
      return this.#files.missing(await applied(db))
    })
    if (dryRun || missing.length === 0) return missing
    return migrateOwnTables(admin, this.#files, { tenantId: id, schema: SCHEMA, database, ...limits })
  }

  async #furnish(db: ScriptDb, tenantId: string): Promise<void> {
    await db.script('revoke all on schema public from public')
    await ensureOwnSchema(db, tenantId, SCHEMA)
    await this.#files.walls(db)
  }
}

async function applied(db: ScriptDb): Promise<readonly AppliedFile[]> {
  return db.query<AppliedFile>(
    sql`select version, name, checksum from lessor.app_migrations order by version`,
  )
}
