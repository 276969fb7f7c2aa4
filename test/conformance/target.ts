import { randomBytes } from 'node:crypto'
import { type DatabaseAddress, parseDatabaseUrl } from '../../src/control/database-url.ts'
import { CITUS_KEEPER } from '../../src/placement/citus.ts'
import type { Placement } from '../../src/placement/placement.ts'
import { ident, sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { detectEngine } from '../../src/servers/probe-engine.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'

/** UnusableTarget says why nothing can be tried on a server, and what would help. */
export class UnusableTarget extends Error {
  override readonly name = 'UnusableTarget'
}

/** TriedTenant is a tenant that was made on the target, with the placement that takes it away. */
export interface TriedTenant {
  readonly id: string
  readonly placement: Placement
}

/** Roles of all tenants of a server, those first that are members of others. */
const COMMON_ROLES = [
  CITUS_KEEPER,
  'lessor_keeper',
  'lessor_tenant',
  'lessor_row',
  'lessor_schema',
  'lessor_ddl',
  'lessor_owner',
]
const SCHEMAS = ['app', 'lessor']

interface PublicRights {
  readonly connect: boolean
  readonly temporary: boolean
  readonly usage: boolean
  readonly create: boolean
  /** What Citus says of its columnar tables. */
  readonly columnar: boolean
}

/**
 * Target is the database in which a server is tried, and what was there before. It is one of its own where the
 * administrator may make one; of Citus it is the one that has the workers.
 */
export class Target {
  readonly url: string
  readonly address: DatabaseAddress
  readonly #serverUrl: string
  readonly #isOwn: boolean
  readonly #rolesBefore: ReadonlySet<string>
  readonly #rightsBefore: PublicRights

  private constructor(
    url: string,
    serverUrl: string,
    rolesBefore: ReadonlySet<string>,
    rightsBefore: PublicRights,
  ) {
    this.url = url
    this.address = parseDatabaseUrl(url)
    this.#serverUrl = serverUrl
    this.#isOwn = url !== serverUrl
    this.#rolesBefore = rolesBefore
    this.#rightsBefore = rightsBefore
  }

  /**
   * open finds or makes the database.
   * @throws UnusableTarget when the URL is wrong or there is no such database; LessorError SERVER_UNAVAILABLE
   */
  static async open(serverUrl: string): Promise<Target> {
    try {
      parseDatabaseUrl(serverUrl)
    } catch (error) {
      throw new UnusableTarget(error instanceof Error ? error.message : 'The URL cannot be read')
    }
    return withAdmin(serverUrl, async (admin) => {
      const before = new Set(
        (await admin.query<{ name: string }>(sql`select rolname as name from pg_roles`)).map(
          ({ name }) => name,
        ),
      )
      const rights = await publicRights(admin)
      const [may] = await admin.query<{ create: boolean; used: boolean }>(sql`
        select
          (select rolcreatedb or rolsuper from pg_roles where rolname = current_user) as create,
          exists (select from pg_namespace where nspname = any (${SCHEMAS}::text[])) as used`)
      if ((await detectEngine(admin)) !== 'citus' && may?.create) {
        const name = `lessor_conformance_${randomBytes(6).toString('hex')}`
        await admin.query(sql`create database ${ident(name)} template template0`)
        return new Target(inDatabase(serverUrl, name), serverUrl, before, rights)
      }
      if (may?.used) {
        throw new UnusableTarget(
          'The database of the URL has schema app or lessor already. Name an empty one' +
            (may.create ? ', or drop them.' : ', or an administrator who may make databases (CREATEDB).'),
        )
      }
      return new Target(serverUrl, serverUrl, before, rights)
    })
  }

  /** close takes away all that was made on the server for the trial, also what a failure has left. */
  async close(tenants: Iterable<TriedTenant>, logins: Iterable<string>): Promise<void> {
    await withAdmin(this.url, async (admin) => {
      for (const { id, placement } of tenants) await placement.unprovision(admin, id)
      for (const schema of SCHEMAS) await admin.query(sql`drop schema if exists ${ident(schema)} cascade`)
      for (const role of [...logins, ...COMMON_ROLES]) {
        if (this.#rolesBefore.has(role)) continue
        const [found] = await admin.query(sql`select from pg_roles where rolname = ${role}`)
        if (found === undefined) continue
        await admin.query(sql`grant ${ident(role)} to current_user`)
        await admin.query(sql`drop owned by ${ident(role)}`)
        await admin.query(sql`drop role ${ident(role)}`)
      }
      if (!this.#isOwn) await this.#restoreRights(admin)
    })
    if (!this.#isOwn) return
    await withAdmin(this.#serverUrl, (admin) =>
      admin.query(sql`drop database if exists ${ident(this.address.database)} with (force)`),
    )
  }

  async #restoreRights(admin: ServerAdmin): Promise<void> {
    const { connect, temporary, usage, create, columnar } = this.#rightsBefore
    const database = ident(this.address.database)
    if (connect) await admin.query(sql`grant connect on database ${database} to public`)
    if (temporary) await admin.query(sql`grant temporary on database ${database} to public`)
    if (usage) await admin.query(sql`grant usage on schema public to public`)
    if (create) await admin.query(sql`grant create on schema public to public`)
    if (columnar) {
      await admin.script(
        'grant usage on schema columnar to public; grant select on all tables in schema columnar to public',
      )
    }
  }
}

/** inDatabase is the URL of another database; as text, since a list of hosts is no URL to the URL class. */
export function inDatabase(url: string, name: string): string {
  return leaveOut(url, /^dbname=/).replace(/^([^:]*:\/\/[^/?]*)[^?]*/, `$1/${name}`)
}

/** registrationOf is a URL as a request to register the server has it: certificates stand beside it and not in a file. */
export function registrationOf({ url, address }: Pick<Target, 'url' | 'address'>) {
  const { tls, rootCertificates } = address
  if (rootCertificates?.path === undefined) return { url: new Secret(url) }
  const bare = leaveOut(url, /^ssl(?:mode|rootcert)?=/)
  return { url: new Secret(bare), tls, rootCertificates: rootCertificates.text }
}

function leaveOut(url: string, parameters: RegExp): string {
  const [server = '', query] = url.split('?')
  const others = query?.split('&').filter((each) => !parameters.test(each)) ?? []
  return others.length === 0 ? server : `${server}?${others.join('&')}`
}

async function publicRights(admin: ServerAdmin): Promise<PublicRights> {
  const [row] = await admin.query<PublicRights>(sql`
    select
      has_database_privilege('public', current_database(), 'connect') as connect,
      has_database_privilege('public', current_database(), 'temporary') as temporary,
      coalesce(has_schema_privilege('public', to_regnamespace('public'), 'usage'), false) as usage,
      coalesce(has_schema_privilege('public', to_regnamespace('public'), 'create'), false) as create,
      coalesce(has_schema_privilege('public', to_regnamespace('columnar'), 'usage'), false) as columnar`)
  if (row === undefined) throw new Error('bug: a select without a table has one row')
  return row
}

async function withAdmin<T>(url: string, work: (admin: ServerAdmin) => Promise<T>): Promise<T> {
  const admin = new ServerAdmin({ address: parseDatabaseUrl(url), maxConnections: 1 })
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}
