import type { Db } from '../pool/statement.ts'
import { otherColour } from '../tenants/tenant.ts'
import { checkWalls } from './check-walls.ts'
import type { DataFiles } from './data-files.ts'
import { TENANTS } from './group-roles.ts'
import type { AdminDb, Colour, Login, Placement, ProvisionRequest } from './placement.ts'
import { removeRows } from './remove-rows.ts'
import { prepareSharedTables, SHARED_SCHEMA } from './shared-tables.ts'
import { dropLogin, ensureLogin, type LoginRole, missingParameters } from './tenant-logins.ts'
import { canonical, loginName } from './tenant-names.ts'

export interface RolePlacementOptions {
  readonly files: DataFiles
  /** Hears, in one sentence, what this data server's administrator cannot set up. */
  readonly notice?: (message: string) => void
}

/**
 * RolePlacement keeps the tenants of a data server in shared tables, each behind logins of its own:
 * row level security compares a row's tenant_id with the role's name, `tb_<32 hex digits>` (blue)
 * or `tg_<32 hex digits>` (green). A login is made when its colour's turn comes, so that a tenant
 * whose credential was never rotated has one role and not two.
 */
export class RolePlacement implements Placement {
  readonly name = 'role'
  readonly hasOwnLogin = true
  readonly hasOwnTables = false
  readonly #options: RolePlacementOptions

  constructor(options: RolePlacementOptions) {
    this.#options = options
  }

  /** @throws LessorError PLACEMENT_UNAVAILABLE when the server cannot keep tenants apart */
  async prepare(admin: AdminDb): Promise<void> {
    await prepareSharedTables(admin, this.#options.files)
    for (const parameter of await missingParameters(admin)) {
      this.#options.notice?.(
        `Tenants' roles stay without ${parameter}: a superuser may let the administrator set it ` +
          `by GRANT SET ON PARAMETER ${parameter}.`,
      )
    }
  }

  /** @throws TypeError when `verifier` is not a SCRAM verifier */
  async provision(admin: AdminDb, request: ProvisionRequest): Promise<void> {
    await ensureLogin(admin, loginRole(request.tenantId, request.colour), request)
  }

  login(tenantId: string, colour: Colour): Login {
    const id = canonical(tenantId)
    // In the start-up packet too: not every administrator may set rls.tenant_id on the role, and the role
    // itself may change what is set for it.
    return {
      user: loginName(id, colour),
      parameters: { 'rls.tenant_id': id, search_path: SHARED_SCHEMA },
    }
  }

  /** @throws LessorError INTERNAL that names the rules that do not hold */
  async check(db: Db, tenantId: string): Promise<void> {
    await checkWalls(db, canonical(tenantId))
  }

  async removeRows(admin: AdminDb, tenantId: string): Promise<number> {
    return removeRows(admin, canonical(tenantId))
  }

  async withdraw(admin: AdminDb, tenantId: string, colour: Colour): Promise<void> {
    await dropLogin(admin, loginName(tenantId, colour), loginName(tenantId, otherColour(colour)))
  }

  async unprovision(admin: AdminDb, tenantId: string): Promise<void> {
    await dropLogin(admin, loginName(tenantId, 'blue'))
    await dropLogin(admin, loginName(tenantId, 'green'))
  }

  async migrate(): Promise<readonly string[]> {
    return []
  }
}

function loginRole(tenantId: string, colour: Colour): LoginRole {
  const id = canonical(tenantId)
  return { name: loginName(id, colour), tenantId: id, group: TENANTS, searchPath: SHARED_SCHEMA }
}
