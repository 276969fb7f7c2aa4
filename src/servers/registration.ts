import type { ChangeLog } from '../control/changes.ts'
import type { ControlDb } from '../control/control-database.ts'
import { type DatabaseAddress, type GivenWay, parseServerUrl } from '../control/database-url.ts'
import { isLessorError, LessorError } from '../errors.ts'
import type { Placement } from '../placement/placement.ts'
import { hostsOf, type TlsMode, wayOf } from '../pool/contract.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { RootCertificates } from '../pool/root-certificates.ts'
import { sql } from '../pool/statement.ts'
import { NO_PRIMARY } from '../pool/writable-hosts.ts'
import type { Secret } from '../secret.ts'
import { PLACEMENTS, type PlacementName } from '../tenants/tenant.ts'
import type { Vault } from '../vault/vault.ts'
import { assertDirect } from './assert-direct.ts'
import type { Capabilities, Problem } from './capabilities.ts'
import { DEFAULT_SERVER, type Labels, SERVER_NAME_PATTERN, type ServerAddress } from './data-server.ts'
import { findTwin } from './find-twin.ts'
import type { KnownServer } from './known-server.ts'
import { type Marks, registeredAs } from './marks.ts'
import { preparePlacements } from './prepare-placements.ts'
import { runProbe } from './probe.ts'
import { ServerAdmin, type ServerAdminOptions } from './server-admin.ts'
import { sealCredential } from './server-credentials.ts'
import type { ServerDirectory } from './server-directory.ts'
import {
  changeServer,
  findCredential,
  findMarked,
  insertServer,
  saveCapabilities,
  saveCredential,
} from './server-store.ts'

export interface RegistrationOptions {
  /** The control database. */
  readonly db: ControlDb
  readonly vault: Pick<Vault, 'seal' | 'keyId'>
  readonly changes: Pick<ChangeLog, 'publish'> | undefined
  readonly admin: Omit<ServerAdminOptions, 'address'>
  readonly directory: ServerDirectory
  readonly marks: Marks
}

/** RegisterRequest is a data server as an operator describes it. */
export interface RegisterRequest {
  readonly name: string
  /** With an administrator's login. */
  readonly url: Secret
  /** Instead of the URL's `sslmode`. */
  readonly tls?: TlsMode
  /** In PEM, instead of the URL's `sslrootcert`. */
  readonly rootCertificates?: string
  readonly labels?: Labels
  readonly maxConnections?: number | null
}

/** ServerPatch is what of a data server may change. */
export interface ServerPatch {
  readonly labels?: Labels
  readonly maxConnections?: number | null
  /** A new way to the same server, or a new administrator's login. */
  readonly url?: Secret
  readonly tls?: TlsMode
  /** In PEM; null stands for none. With a new URL they stay when undefined. */
  readonly rootCertificates?: string | null
}

type Placements = ReadonlyMap<PlacementName, Placement>

/** Work that is under way on one server at a time is enough of it. */
const PROBE_CONNECTIONS = 2

/**
 * Registration enters data servers and changes them. A server is made ready first, which can be done again,
 * and entered last, so that what a death leaves behind is a server made ready and not entered.
 */
export class Registration {
  readonly #options: RegistrationOptions

  constructor(options: RegistrationOptions) {
    this.#options = options
  }

  /**
   * register probes a server, makes it ready and enters it; its password is sealed.
   * @throws LessorError INVALID_REQUEST, SERVER_NAME_TAKEN; SERVER_UNSUITABLE that says what is wrong and what
   *   would be right; SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async register(request: RegisterRequest, placements: Placements): Promise<void> {
    const { db, vault, changes, directory, marks } = this.#options
    const { name, labels = {}, maxConnections = null } = request
    if (!new RegExp(SERVER_NAME_PATTERN).test(name))
      throw invalid('/name', `must match ${SERVER_NAME_PATTERN}`)
    const address = readAddress(request)
    await directory.read()
    this.#assertNew(name, address)
    const { capabilities, mark } = await this.#withAdmin(address, async (admin) => {
      await this.#reach(admin, address)
      const twin = await findTwin(admin, directory.known)
      if (twin !== undefined) throw registeredAs(twin)
      await marks.assertFree(admin)
      const capabilities = await this.#makeReady(admin, address, placements)
      return { capabilities, mark: await marks.enter(admin) }
    })
    const credential = await sealCredential(vault, name, 'admin', address.user, address.password)
    await db.transaction(async (tx) => {
      const { database } = address
      const server = { name, database, ...wayOf(address), labels, maxConnections, capabilities, mark }
      if (!(await insertServer(tx, server))) {
        const owner = await findMarked(tx, mark)
        throw owner === undefined || owner === name ? nameTaken(name) : registeredAs(owner)
      }
      await saveCredential(tx, name, credential)
      await changes?.publish(tx, { kind: 'server', tenantId: null })
    })
    await directory.read()
  }

  /**
   * update changes labels, connections, or the way to the server; that is tried out first.
   * @throws LessorError SERVER_NOT_FOUND, INVALID_REQUEST, SERVER_UNSUITABLE, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async update(name: string, patch: ServerPatch, placements: Placements): Promise<void> {
    const { db, vault, changes, directory, marks } = this.#options
    const { labels, maxConnections, url, tls, rootCertificates } = patch
    // What an old process has entered by now counts.
    if (url !== undefined) await directory.read()
    const server = await directory.find(name)
    const ofWay = [url && '/url', tls && '/tls', rootCertificates !== undefined && '/root_certificates']
    const field = ofWay.find((each) => typeof each === 'string')
    if (name === DEFAULT_SERVER && field !== undefined) {
      throw invalid(field, 'does not change: the server "default" is that of DATABASE_URL')
    }
    if (url === undefined && field !== undefined) throw invalid(field, 'changes together with url')
    const known = server.row?.rootCertificates
    const address =
      url &&
      readAddress(
        { url, tls, rootCertificates: rootCertificates ?? undefined },
        rootCertificates === undefined ? known : undefined,
      )
    if (address !== undefined) {
      const carried = pick(placements, server.row?.capabilities?.placements ?? [])
      const mark = server.row?.mark ?? (await this.#learn(server, carried))
      await this.#withAdmin(address, async (admin) => {
        await this.#reach(admin, address)
        if (mark === null) await this.#assertNoOther(admin, server)
        else await marks.assertSame(admin, { name, mark })
        await this.#assertRoles(admin, name)
        await preparePlacements(admin, carried)
        await marks.learn(admin, name)
      })
    }
    const credential = address && (await sealCredential(vault, name, 'admin', address.user, address.password))
    await db.transaction(async (tx) => {
      await changeServer(tx, name, {
        ...(labels && { labels }),
        ...(maxConnections !== undefined && { maxConnections }),
        ...(address && { address }),
      })
      if (credential !== undefined) await saveCredential(tx, name, credential)
      await changes?.publish(tx, { kind: 'server', tenantId: null })
    })
    await directory.read()
  }

  /**
   * probe finds out again what a server can do, makes it ready for that, and stores it.
   * @throws LessorError SERVER_NOT_FOUND, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async probe(name: string, placements: Placements): Promise<void> {
    const { db, changes, directory, marks } = this.#options
    const server = await directory.find(name)
    const address = await server.login()
    const capabilities = await this.#withAdmin(address, async (admin) => {
      await this.#reach(admin, address)
      await marks.assertSame(admin, { name, mark: server.row?.mark ?? null })
      return this.#judge(admin, address, placements)
    })
    await db.transaction(async (tx) => {
      await saveCapabilities(tx, name, capabilities)
      await changes?.publish(tx, { kind: 'server', tenantId: null })
    })
    await directory.read()
  }

  async #makeReady(
    admin: ServerAdmin,
    address: DatabaseAddress,
    placements: Placements,
  ): Promise<Capabilities> {
    const capabilities = await this.#judge(admin, address, placements)
    if (capabilities.placements.length > 0) return capabilities
    throw new LessorError(
      'SERVER_UNSUITABLE',
      `The server carries no placement. ${capabilities.problems.map(({ placement, reason }) => `${placement}: ${reason}.`).join(' ')}`,
    )
  }

  /** What the probe finds, less what cannot be made ready. */
  async #judge(admin: ServerAdmin, address: DatabaseAddress, placements: Placements): Promise<Capabilities> {
    const found = await runProbe({ admin, address })
    const { problems } = await preparePlacements(admin, pick(placements, found.placements))
    return {
      ...found,
      placements: found.placements.filter((each) => placements.has(each) && !has(problems, each)),
      problems: PLACEMENTS.flatMap((placement) => {
        const problem = [...found.problems, ...problems].find((each) => each.placement === placement)
        return problem === undefined ? [] : [problem]
      }),
    }
  }

  #assertNew(name: string, address: DatabaseAddress): void {
    const { known } = this.#options.directory
    if (known.some((each) => each.name === name)) throw nameTaken(name)
    const twin = known.find((each) => isSameDatabase(each.address, address))
    if (twin !== undefined) throw registeredAs(twin.name)
  }

  /** @throws LessorError SERVER_UNSUITABLE when the login is refused or a pooler stands between, SERVER_UNAVAILABLE */
  async #reach(admin: ServerAdmin, address: DatabaseAddress): Promise<void> {
    const { connectTimeoutMs } = this.#options.admin
    const options = { address, what: 'The URL', unavailable: 'SERVER_UNAVAILABLE' } as const
    await explained(() => assertDirect({ ...options, ...(connectTimeoutMs && { connectTimeoutMs }) }))
    await explained(() => admin.ping())
  }

  /**
   * The mark that a server of an earlier version gets now, at the address that it had so far. Null when nothing that
   * can be used answers there.
   */
  async #learn(server: KnownServer, placements: readonly Placement[]): Promise<string | null> {
    try {
      const admin = await server.admin()
      await preparePlacements(admin, placements)
      return await this.#options.marks.learn(admin, server.name)
    } catch (error) {
      if (isLessorError(error, 'CONTROL_UNAVAILABLE')) throw error
      return null
    }
  }

  /** Without a mark to compare: a database that Lessor has made ready, and none of another server. */
  async #assertNoOther(admin: ServerAdmin, { name }: KnownServer): Promise<void> {
    const { directory, marks } = this.#options
    await marks.assertSame(admin, { name, mark: null })
    const others = directory.known.filter((each) => each.name !== name)
    const twin = await findTwin(admin, others)
    if (twin !== undefined) throw registeredAs(twin)
    await marks.assertPrepared(admin, name)
  }

  /** The roles of a server do not travel with its database. */
  async #assertRoles(admin: ServerAdmin, name: string): Promise<void> {
    const sealed = await findCredential(this.#options.db, name, 'row')
    if (sealed === undefined) return
    const [role] = await admin.query(sql`select from pg_roles where rolname = ${sealed.login}`)
    if (role !== undefined) return
    throw new LessorError(
      'SERVER_UNSUITABLE',
      `The URL leads to the database of the data server "${name}" without its roles: there is no role ${sealed.login}. ` +
        'Restore the roles of the old server first (pg_dumpall --roles-only).',
    )
  }

  async #withAdmin<T>(address: DatabaseAddress, work: (admin: ServerAdmin) => Promise<T>): Promise<T> {
    const admin = new ServerAdmin({
      ...this.#options.admin,
      address,
      maxConnections: PROBE_CONNECTIONS,
    })
    try {
      return await work(admin)
    } finally {
      await admin.close()
    }
  }
}

/** @throws LessorError SERVER_UNSUITABLE when the login is refused, SERVER_UNAVAILABLE with a reason */
async function explained(attempt: () => Promise<void>): Promise<void> {
  try {
    await attempt()
  } catch (error) {
    if (!isLessorError(error, 'SERVER_UNAVAILABLE')) throw error
    const code = errorCode(error.cause)
    if (code !== undefined && LOGIN_REFUSED.has(code)) {
      throw new LessorError(
        'SERVER_UNSUITABLE',
        `The server refuses the login (${code}). Check user, password and database of the URL, and pg_hba.conf of the server.`,
      )
    }
    if (code === NO_PRIMARY) {
      throw new LessorError(
        'SERVER_UNAVAILABLE',
        'No host of the URL takes writes (NO_PRIMARY). Name the primary, and all hosts that it may move to.',
        { cause: error.cause, retryAfterSeconds: 1 },
      )
    }
    throw new LessorError(
      'SERVER_UNAVAILABLE',
      `The data server could not be reached${code === undefined ? '' : ` (${code})`}.`,
      { cause: error.cause, retryAfterSeconds: 1 },
    )
  }
}

/** invalid_password, invalid_authorization_specification, invalid_catalog_name */
const LOGIN_REFUSED = new Set(['28P01', '28000', '3D000'])

type Given = Pick<RegisterRequest, 'url'> & GivenWay

/**
 * `kept` are the root certificates that stay, unless the URL names others.
 * @throws LessorError INVALID_REQUEST, without the URL
 */
function readAddress({ url, tls, rootCertificates }: Given, kept?: RootCertificates): DatabaseAddress {
  try {
    return parseServerUrl(url.reveal(), { tls, rootCertificates, kept })
  } catch (error) {
    throw invalid('/url', `is not what it should be: ${error instanceof Error ? error.message : ''}`)
  }
}

/** Two lists of hosts that have one in common lead to one server. */
function isSameDatabase(a: ServerAddress, b: DatabaseAddress): boolean {
  const isIn = (host: string, port: number) =>
    hostsOf(b).some((each) => each.host === host && each.port === port)
  return a.database === b.database && hostsOf(a).some(({ host, port }) => isIn(host, port))
}

function pick(placements: Placements, names: readonly PlacementName[]): readonly Placement[] {
  return [...placements.values()].filter(({ name }) => names.includes(name))
}

function has(problems: readonly Problem[], placement: PlacementName): boolean {
  return problems.some((each) => each.placement === placement)
}

function nameTaken(name: string): LessorError {
  return new LessorError('SERVER_NAME_TAKEN', `There is a data server "${name}".`)
}

function invalid(path: string, message: string): LessorError {
  return new LessorError('INVALID_REQUEST', `The body field ${path} ${message}.`, {
    errors: [{ in: 'body', path, message }],
  })
}
