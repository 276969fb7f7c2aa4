import { LessorError } from '../errors.ts'
import { type ScriptDb, sql } from '../pool/statement.ts'
import type { OwnSpace } from './check-own-walls.ts'
import type { AppliedFile } from './data-files.ts'
import { ensureGroupRoles } from './group-roles.ts'
import { OwnPlacement } from './own-placement.ts'
import { ensureOwnSchema, migrateOwnTables } from './own-tables.ts'
import type { AdminDb, Colour, Login, MigrateTenantOptions } from './placement.ts'
import { requireSafeVersion } from './server-version.ts'
import { dropDatabase, ensureDatabase, hasDatabase } from './tenant-database.ts'
import { canonical, loginName, spaceName, userName } from './tenant-names.ts'

/** What holds the tables in a tenant's own database. */
const SCHEMA = 'app'

/**
 * DatabasePlacement gives each tenant a database of its own, `t_<32 hex digits>`, on the data server, to which
 * nobody else may connect. The tenant may make what it likes in schema app of it, by SET ROLE to its owner
 * role. Database and schema belong to the administrator's side, so that a tenant cannot let others in.
 */
export class DatabasePlacement extends OwnPlacement {
  readonly name = 'database'

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
    await this.files.walls(admin)
  }

  login(tenantId: string, colour: Colour): Login {
    const id = canonical(tenantId)
    return {
      user: loginName(id, colour),
      database: spaceName(id),
      parameters: { 'rls.tenant_id': id, search_path: SCHEMA },
    }
  }

  async migrate(
    admin: AdminDb,
    tenantId: string,
    { dryRun = false, ...limits }: MigrateTenantOptions,
  ): Promise<readonly string[]> {
    const id = canonical(tenantId)
    const database = spaceName(id)
    if (dryRun && !(await hasDatabase(admin, database))) return this.files.missing([])
    const missing = await admin.inDatabase(database, async (db) => {
      if (!dryRun) await this.files.walls(db)
      return this.files.missing(await applied(db))
    })
    if (dryRun || missing.length === 0) return missing
    return migrateOwnTables(admin, this.files, { tenantId: id, schema: SCHEMA, database, ...limits })
  }

  protected space(): OwnSpace {
    return { schema: SCHEMA, ownsDatabase: true }
  }

  /** CREATE DATABASE is no part of a transaction: what is there already is taken over, what is half there is made anew. */
  protected async makeSpace(admin: AdminDb, id: string, isNew: boolean): Promise<void> {
    await ensureDatabase(admin, spaceName(id), userName(id))
    if (!isNew) return
    await admin.inDatabase(spaceName(id), async (db) => {
      await db.script('revoke all on schema public from public')
      await ensureOwnSchema(db, id, SCHEMA)
      await this.files.walls(db)
    })
  }

  protected dropSpace(admin: AdminDb, tenantId: string): Promise<void> {
    return dropDatabase(admin, spaceName(tenantId))
  }
}

async function applied(db: ScriptDb): Promise<readonly AppliedFile[]> {
  return db.query<AppliedFile>(
    sql`select version, name, checksum from lessor.app_migrations order by version`,
  )
}
