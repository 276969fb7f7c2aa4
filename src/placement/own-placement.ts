import type { Db } from '../pool/statement.ts'
import { otherColour } from '../tenants/tenant.ts'
import { checkOwnWalls, type OwnSpace } from './check-own-walls.ts'
import type { DataFiles } from './data-files.ts'
import { closeOwnLogins, dropOwnRoles, ensureOwnRoles, hasLogin } from './own-tables.ts'
import type {
  AdminDb,
  Colour,
  Login,
  MigrateTenantOptions,
  Placement,
  ProvisionRequest,
} from './placement.ts'
import { dropLogin, ensureLogin } from './tenant-logins.ts'
import { canonical, loginName, ownerName, userName } from './tenant-names.ts'

export interface OwnPlacementOptions {
  readonly files: DataFiles
}

/**
 * OwnPlacement is what the placements have in common in which a tenant has tables of its own: logins that may
 * use nothing else, and an owner role by which the tenant may make what it likes.
 */
export abstract class OwnPlacement implements Placement {
  abstract readonly name: 'schema' | 'database'
  readonly hasOwnLogin = true
  readonly hasOwnTables = true
  protected readonly files: DataFiles

  constructor({ files }: OwnPlacementOptions) {
    this.files = files
  }

  abstract prepare(admin: AdminDb): Promise<void>

  /**
   * The tables are made before the first login, so that a tenant that can log in has them.
   * @throws TypeError when `verifier` is not a SCRAM verifier
   */
  async provision(admin: AdminDb, { tenantId, colour, verifier, limits }: ProvisionRequest): Promise<void> {
    const id = canonical(tenantId)
    const isNew = !(await hasLogin(admin, id))
    const { schema, ownsDatabase } = this.space(id)
    await ensureOwnRoles(admin, id, { usesServerDatabase: !ownsDatabase })
    await this.makeSpace(admin, id, isNew)
    if (isNew) await this.migrate(admin, id, { lockTimeoutMs: 0 })
    const role = {
      name: loginName(id, colour),
      tenantId: id,
      group: userName(id),
      owner: ownerName(id),
      searchPath: schema,
    }
    await ensureLogin(admin, role, { verifier, limits })
  }

  abstract login(tenantId: string, colour: Colour): Login

  /** @throws LessorError INTERNAL that names the rules that do not hold */
  async check(db: Db, tenantId: string): Promise<void> {
    const id = canonical(tenantId)
    await checkOwnWalls(db, id, this.space(id))
  }

  /** Its rows go with its tables. */
  async removeRows(): Promise<number> {
    return 0
  }

  async withdraw(admin: AdminDb, tenantId: string, colour: Colour): Promise<void> {
    await dropLogin(admin, loginName(tenantId, colour), loginName(tenantId, otherColour(colour)))
  }

  async unprovision(admin: AdminDb, tenantId: string): Promise<void> {
    await closeOwnLogins(admin, tenantId)
    await this.dropSpace(admin, tenantId)
    await dropOwnRoles(admin, tenantId)
  }

  abstract migrate(
    admin: AdminDb,
    tenantId: string,
    options: MigrateTenantOptions,
  ): Promise<readonly string[]>

  protected abstract space(id: string): OwnSpace

  /** makeSpace makes what is to hold the tables, or takes over what is there; only a new tenant's may be half there. */
  protected abstract makeSpace(admin: AdminDb, id: string, isNew: boolean): Promise<void>

  /** dropSpace drops it with all that is in it. */
  protected abstract dropSpace(admin: AdminDb, tenantId: string): Promise<void>
}
