import { LessorError } from '../errors.ts'
import type { Db } from '../pool/statement.ts'
import { checkRuntime } from './check-runtime.ts'
import { CITUS_PARAMETERS } from './citus.ts'
import type { DataFiles } from './data-files.ts'
import { ROW_RUNTIME } from './group-roles.ts'
import type { AdminDb, Login, Placement } from './placement.ts'
import { removeRows } from './remove-rows.ts'
import { prepareSharedTables, SHARED_SCHEMA } from './shared-tables.ts'
import { ensureLogin, type LoginSettings } from './tenant-logins.ts'
import { canonical } from './tenant-names.ts'

export interface RowPlacementOptions {
  readonly files: DataFiles
}

export interface RuntimeRequest extends LoginSettings {
  /** `lessor_row_<12 hex digits>`: roles belong to the server, and several services may share one. */
  readonly role: string
}

const RUNTIME_NAME = /^lessor_row_[0-9a-f]{12}$/

/**
 * RowPlacement keeps the tenants of a data server in shared tables behind one login: row level security compares a
 * row's tenant_id with `rls.tenant_id`, which is set for each transaction and for nothing longer. A new tenant
 * costs the data server nothing.
 */
export class RowPlacement implements Placement {
  readonly name = 'row'
  readonly hasOwnLogin = false
  readonly hasOwnTables = false
  readonly #options: RowPlacementOptions

  constructor(options: RowPlacementOptions) {
    this.#options = options
  }

  /** @throws LessorError PLACEMENT_UNAVAILABLE when the server cannot keep tenants apart */
  async prepare(admin: AdminDb): Promise<void> {
    await prepareSharedTables(admin, this.#options.files)
  }

  /**
   * provisionRuntime makes the login that all tenants have in common, or brings it to this password and these limits.
   * @throws TypeError when `verifier` is not a SCRAM verifier, or the role is not named as it must be
   */
  async provisionRuntime(admin: AdminDb, { role, verifier, limits }: RuntimeRequest): Promise<void> {
    if (!RUNTIME_NAME.test(role)) throw new TypeError('"role" must be lessor_row_ and 12 hexadecimal digits')
    const login = { name: role, tenantId: undefined, group: ROW_RUNTIME, searchPath: SHARED_SCHEMA }
    await ensureLogin(admin, login, { verifier, limits })
  }

  /** @throws LessorError PLACEMENT_UNAVAILABLE */
  async provision(): Promise<void> {
    throw new LessorError(
      'PLACEMENT_UNAVAILABLE',
      'Tenants of the placement "row" have no login of their own.',
    )
  }

  /** The user is the data server's own. The setting that binds to a tenant is never here. */
  login(): Login {
    return { user: ROW_RUNTIME, parameters: { search_path: SHARED_SCHEMA, ...CITUS_PARAMETERS } }
  }

  /** @throws LessorError INTERNAL that names the rules that do not hold */
  async check(db: Db, tenantId: string): Promise<void> {
    await checkRuntime(db, canonical(tenantId))
  }

  async removeRows(admin: AdminDb, tenantId: string): Promise<number> {
    return removeRows(admin, canonical(tenantId))
  }

  async withdraw(): Promise<void> {}

  async unprovision(): Promise<void> {}

  async migrate(): Promise<readonly string[]> {
    return []
  }
}
