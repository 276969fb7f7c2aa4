import type { DatabaseAddress } from '../control/database-url.ts'
import type { LessorError } from '../errors.ts'
import { wayOf } from '../pool/contract.ts'
import type { PlacementName } from '../tenants/tenant.ts'
import type { DataServer, ServerAddress } from './data-server.ts'
import type { RowLogin } from './row-login.ts'
import { ServerAdmin, type ServerAdminOptions } from './server-admin.ts'

export interface KnownServerOptions {
  readonly address: ServerAddress
  readonly row: DataServer | undefined
  readonly isPrepared: boolean
  readonly admin: Omit<ServerAdminOptions, 'address'>
  /** Opens the administrator's login. */
  readonly login: () => Promise<DatabaseAddress>
}

/** KnownServer is a data server as this process knows and reaches it. */
export class KnownServer {
  readonly name: string
  readonly address: ServerAddress
  /** Undefined only for the first one, and until its row is read. */
  row: DataServer | undefined
  /** Why a placement could not be made ready here, since this process has started. */
  readonly lacks = new Map<PlacementName, string>()
  /** Why the server is not used: what answers at its address is not its database. */
  refusal: LessorError | undefined
  /** Whether the placements are ready, as far as they can be. */
  isPrepared: boolean
  readonly #options: KnownServerOptions
  #admin: Promise<ServerAdmin> | undefined
  #runtime: Promise<RowLogin> | undefined

  constructor(options: KnownServerOptions) {
    const { name, database } = options.address
    this.#options = options
    this.name = name
    this.address = { name, database, ...wayOf(options.address) }
    this.row = options.row
    this.isPrepared = options.isPrepared
  }

  /** login is where an administrator logs in, and as whom. @throws LessorError VAULT_OPEN_FAILED, CONTROL_UNAVAILABLE */
  login(): Promise<DatabaseAddress> {
    return this.#options.login()
  }

  /** admin opens the login at first, and again after a failure. @throws what `login` throws */
  admin(): Promise<ServerAdmin> {
    this.#admin ??= this.#openAdmin().catch((error: unknown) => {
      this.#admin = undefined
      throw error
    })
    return this.#admin
  }

  /** runtime resolves with the login of `row`, made or opened by `ensure` at first, and again after a failure. */
  runtime(ensure: () => Promise<RowLogin>): Promise<RowLogin> {
    this.#runtime ??= ensure().catch((error: unknown) => {
      this.#runtime = undefined
      throw error
    })
    return this.#runtime
  }

  /** lack says why the server does not carry a placement; undefined when it does. */
  lack(placement: PlacementName): string | undefined {
    const here = this.lacks.get(placement)
    if (here !== undefined) return `does not carry it: ${here}`
    const { capabilities } = this.row ?? {}
    if (!capabilities || capabilities.placements.includes(placement)) return undefined
    const found = capabilities.problems.find((problem) => problem.placement === placement)
    return `does not carry it: ${found?.reason ?? 'it was not probed for it'}`
  }

  /** close lets what is under way end. Never rejects. */
  async close(): Promise<void> {
    const admin = await this.#admin?.catch(() => undefined)
    await admin?.close()
  }

  async #openAdmin(): Promise<ServerAdmin> {
    return new ServerAdmin({ ...this.#options.admin, address: await this.login() })
  }
}
