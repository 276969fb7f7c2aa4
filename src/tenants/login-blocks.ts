import type { ChangeLog } from '../control/changes.ts'
import type { ControlDb } from '../control/control-database.ts'
import { LessorError } from '../errors.ts'
import { openLogin } from '../placement/tenant-logins.ts'
import { loginName } from '../placement/tenant-names.ts'
import type { DataServers } from '../servers/data-servers.ts'
import { tenantOf } from '../servers/watchdog/offender.ts'
import type { BlockedLogins, Offender } from '../servers/watchdog/watchdog.ts'
import {
  drainBlocked,
  findLoginState,
  hasBlock,
  insertBlock,
  type LoginState,
  listBlocked,
  removeBlock,
} from './login-block-store.ts'
import { COLOURS } from './tenant.ts'
import type { TenantDirectory } from './tenant-directory.ts'
import type { Visits } from './visits.ts'

export interface LoginBlocksOptions {
  readonly db: ControlDb
  readonly servers: Pick<DataServers, 'admin'>
  readonly changes: Pick<ChangeLog, 'publish'>
  readonly directory: Pick<TenantDirectory, 'forget'>
  readonly visits: Pick<Visits, 'close'>
}

/**
 * LoginBlocks knows which logins may not log in, since the watchdog had to end what they did too often. A block is of
 * one login and not of the tenant: a rotation lifts it, since it makes another login and drops the blocked one.
 */
export class LoginBlocks implements BlockedLogins {
  readonly #options: LoginBlocksOptions

  constructor(options: LoginBlocksOptions) {
    this.#options = options
  }

  /**
   * block writes down that a login may not log in, and tells all processes; a person's login is dropped. It does not
   * close the login on the data server. A login that is blocked already, or of no tenant that is known, is fine.
   * @throws LessorError CONTROL_UNAVAILABLE; SERVER_UNAVAILABLE for a person's login
   */
  async block({ isVisitor, login, reason, server, tenantId }: Offender): Promise<void> {
    const { changes, db, directory, visits } = this.#options
    if (isVisitor) return visits.close({ role: login, tenant: { id: tenantId, server } })
    const colour = COLOURS.find((each) => loginName(tenantId, each) === login)
    // A migrator's login ends with its migration.
    if (colour === undefined) return
    await db.transaction(async (tx) => {
      if (!(await insertBlock(tx, { tenantId, colour, reason }))) return
      if (await drainBlocked(tx, tenantId, colour)) await changes.publish(tx, { kind: 'status', tenantId })
    })
    directory.forget(tenantId)
  }

  /**
   * unblock lets the login in use log in again and lifts its block. It is opened where no block is written down as well: a
   * process can die after it has closed it on the data server. The login of a tenant that is suspended, or being deleted,
   * stays closed.
   * @throws LessorError TENANT_NOT_FOUND, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async unblock(tenantId: string): Promise<void> {
    const { changes, db, directory, servers } = this.#options
    const before = await findLoginState(db, tenantId)
    if (before === undefined) throw new LessorError('TENANT_NOT_FOUND')
    if (!before.isBlocked && !(before.status === 'active' && hasOwnLogin(before))) return
    const admin = await servers.admin(before.server)
    await db.transaction(async (tx) => {
      const state = await findLoginState(tx, tenantId, { lock: true })
      if (state === undefined) return
      // First: what cannot be opened stays blocked.
      if (state.status === 'active') await openLogin(admin, loginName(tenantId, state.colour))
      if (!state.isBlocked) return
      await removeBlock(tx, tenantId, state.colour)
      await changes.publish(tx, { kind: 'status', tenantId })
    })
    directory.forget(tenantId)
  }

  async list(server: string): Promise<readonly string[]> {
    const found = await listBlocked(this.#options.db, server)
    return found.map(({ colour, tenantId }) => loginName(tenantId, colour))
  }

  async whileBlocked(login: string, work: () => Promise<void>): Promise<void> {
    const { db } = this.#options
    const tenantId = tenantOf(login)
    await db.transaction(async (tx) => {
      await findLoginState(tx, tenantId, { lock: true })
      const colour = COLOURS.find((each) => loginName(tenantId, each) === login)
      if (colour !== undefined && (await hasBlock(tx, tenantId, colour))) await work()
    })
  }

  async current(tenantId: string): Promise<string | undefined> {
    const state = await findLoginState(this.#options.db, tenantId)
    return state === undefined || !hasOwnLogin(state) ? undefined : loginName(tenantId, state.colour)
  }
}

function hasOwnLogin({ placement }: LoginState): boolean {
  return placement !== 'row'
}
