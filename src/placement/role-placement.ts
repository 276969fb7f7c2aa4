import type { Db, ScriptDb } from '../pool/statement.ts'
import { otherColour, parseTenantId } from '../tenants/tenant.ts'
import { checkWalls } from './check-walls.ts'
import { ensureGroupRoles } from './group-roles.ts'
import type { Colour, Login, Placement, ProvisionRequest } from './placement.ts'
import { removeRows } from './remove-rows.ts'
import { requireSafeVersion } from './server-version.ts'
import { dropLogin, ensureLogin, type LoginRole, missingParameters } from './tenant-logins.ts'

export interface RolePlacementOptions {
  /** Brings schema app to the state of sql/app; safe from several starters at once. */
  readonly migrate: (admin: ScriptDb) => Promise<unknown>
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
  readonly #options: RolePlacementOptions

  constructor(options: RolePlacementOptions) {
    this.#options = options
  }

  /** @throws LessorError PLACEMENT_UNAVAILABLE when the server cannot keep tenants apart */
  async prepare(admin: ScriptDb): Promise<void> {
    await requireSafeVersion(admin)
    await ensureGroupRoles(admin)
    await this.#options.migrate(admin)
    for (const parameter of await missingParameters(admin)) {
      this.#options.notice?.(
        `Tenants' roles stay without ${parameter}: a superuser may let the administrator set it ` +
          `by GRANT SET ON PARAMETER ${parameter}.`,
      )
    }
  }

  /** @throws TypeError when `verifier` is not a SCRAM verifier */
  async provision(admin: ScriptDb, request: ProvisionRequest): Promise<void> {
    await ensureLogin(admin, loginRole(request.tenantId, request.colour), request)
  }

  login(tenantId: string, colour: Colour): Login {
    const role = loginRole(tenantId, colour)
    // In the start-up packet too, since not every administrator may set it on the role.
    return { user: role.name, parameters: { 'rls.tenant_id': role.tenantId } }
  }

  /** @throws LessorError INTERNAL that names the rules that do not hold */
  async check(db: Db, tenantId: string): Promise<void> {
    await checkWalls(db, canonical(tenantId))
  }

  async removeRows(admin: ScriptDb, tenantId: string): Promise<number> {
    return removeRows(admin, canonical(tenantId))
  }

  async withdraw(admin: ScriptDb, tenantId: string, colour: Colour): Promise<void> {
    await dropLogin(admin, loginRole(tenantId, colour), loginRole(tenantId, otherColour(colour)))
  }

  async unprovision(admin: ScriptDb, tenantId: string): Promise<void> {
    await dropLogin(admin, loginRole(tenantId, 'blue'))
    await dropLogin(admin, loginRole(tenantId, 'green'))
  }
}

function loginRole(tenantId: string, colour: Colour): LoginRole {
  const id = canonical(tenantId)
  return { name: `${colour === 'blue' ? 'tb' : 'tg'}_${id.replaceAll('-', '')}`, tenantId: id }
}

function canonical(tenantId: string): string {
  const id = parseTenantId(tenantId)
  if (id === undefined) throw new TypeError('"tenantId" must be a UUID')
  return id
}
