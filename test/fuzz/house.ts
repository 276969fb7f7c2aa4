import { randomBytes, randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { dataFiles } from '../../src/control/data-files.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { DatabasePlacement } from '../../src/placement/database-placement.ts'
import type { AdminDb, Placement } from '../../src/placement/placement.ts'
import { RolePlacement } from '../../src/placement/role-placement.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { SchemaPlacement } from '../../src/placement/schema-placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import type { ConnectionTarget, Locate } from '../../src/pool/contract.ts'
import type { Colour, PlacementName } from '../../src/tenants/tenant.ts'
import { LIMITS, openAdmin } from '../placement/support.ts'
import { databaseUrl } from '../support/template.ts'
import { type FuzzTenant, TENANTS } from './tenant.ts'

/** Scope is what ends: a tap test, or a run by hand. */
export interface Scope {
  teardown(fn: () => unknown): void
}

/** House is a placement with its tenants on a real server, and what disturbs them from outside. */
export interface House {
  readonly placement: PlacementName
  /** Whether all tenants log in as one, so that they share connections. */
  readonly isShared: boolean
  /** Whether all tenants read the same tables. */
  readonly hasSharedTables: boolean
  readonly tenants: readonly FuzzTenant[]
  /** A generation's login is blue where it is odd, else green; `row` has one login for all. */
  readonly locate: Locate
  /** terminate ends one backend of the tenant's logins and returns whether there was one. */
  terminate(tenant: FuzzTenant): Promise<boolean>
  /** alter runs DDL on the table `moving` that the tenant reads, in one transaction; it may give up waiting for the lock. */
  alter(tenant: FuzzTenant, script: (markers: readonly FuzzTenant[]) => string): Promise<void>
}

/** Where a tenant's tables are. */
interface Ground {
  readonly admin: postgres.Sql
  readonly schema: string
}

const FILES = dataFiles(new URL('./app/', import.meta.url))
/** Connections of all generations, those of terminated backends among them. */
const ROLE_LIMITS = { ...LIMITS, connectionLimit: 60, statementTimeoutMs: 60_000 }
const COLOURS = ['blue', 'green'] as const satisfies readonly Colour[]

function placementOf(name: PlacementName): Placement {
  switch (name) {
    case 'row':
      return new RowPlacement({ files: FILES })
    case 'role':
      return new RolePlacement({ files: FILES, notice: () => {} })
    case 'schema':
      return new SchemaPlacement({ files: FILES })
    case 'database':
      return new DatabasePlacement({ files: FILES })
  }
}

/** openHouse provisions the tenants of a placement in the empty database of `url`, by the placement's own code. */
export async function openHouse(t: Scope, url: string, name: PlacementName): Promise<House> {
  const placement = placementOf(name)
  const admin = openAdmin(t, url)
  await placement.prepare(admin)
  const runtime = placement instanceof RowPlacement ? await provisionRuntime(t, placement, admin) : undefined
  const targets = new Map<string, ConnectionTarget>()
  const grounds = new Map<string, Ground>()
  const tenants: FuzzTenant[] = []
  const shared = open(t, url)
  for (let i = 0; i < TENANTS; i++) {
    const id = randomUUID()
    const logins = await provision(t, { placement, admin, url, id, runtime })
    for (const { generation, target } of logins) targets.set(`${id} ${generation}`, target)
    const { database } = placement.login(id, 'blue')
    const ground = {
      admin: database === undefined ? shared : open(t, databaseUrl(url, database)),
      schema: name === 'schema' ? `t_${id.replaceAll('-', '')}` : 'app',
    }
    grounds.set(id, ground)
    const marker = `tenant ${i} é☃ ${randomBytes(6).toString('hex')}`
    await ground.admin.unsafe(`
      insert into ${ground.schema}.markers (tenant_id, marker) values ('${id}', '${marker}');
      insert into ${ground.schema}.moving (tenant_id, amount, marker) values ('${id}', 7, '${marker}')`)
    tenants.push({ id, marker, logins: logins.map(({ target }) => target.user) })
  }
  const hasSharedTables = !placement.hasOwnTables
  const groundOf = ({ id }: FuzzTenant): Ground => {
    const ground = grounds.get(id)
    if (ground === undefined) throw new Error('bug: a tenant without tables')
    return ground
  }
  return {
    placement: name,
    isShared: !placement.hasOwnLogin,
    hasSharedTables,
    tenants,
    async locate({ tenantId, generation }) {
      const target = targets.get(`${tenantId} ${generation % 2}`)
      if (target === undefined) throw new Error('bug: there is no such tenant')
      return target
    },
    async terminate({ logins }) {
      const rows = await shared`
        select pg_terminate_backend(pid) from pg_stat_activity
        where usename = any (${[...logins]}) order by random() limit 1`
      return rows.length > 0
    },
    async alter(tenant, script) {
      const ground = groundOf(tenant)
      const readers = hasSharedTables ? tenants : [tenant]
      await ground.admin
        .begin((tx) =>
          tx.unsafe(
            `set local lock_timeout = '1s'; set local search_path = ${ground.schema}; ${script(readers)}`,
          ),
        )
        .catch((error: { code?: string }) => {
          if (error.code !== LOCK_NOT_AVAILABLE) throw error
        })
    },
  }
}

const LOCK_NOT_AVAILABLE = '55P03'

function open(t: Scope, url: string): postgres.Sql {
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end({ timeout: 1 }))
  return admin
}

type Runtime = Pick<ConnectionTarget, 'user' | 'password'>

async function provisionRuntime(t: Scope, placement: RowPlacement, admin: AdminDb): Promise<Runtime> {
  const password = randomPassword()
  const user = `lessor_row_${randomBytes(6).toString('hex')}`
  await placement.provisionRuntime(admin, {
    role: user,
    verifier: scramVerifier(password),
    limits: ROLE_LIMITS,
  })
  t.teardown(() => admin.script(`drop owned by ${user}; drop role ${user}`))
  return { user, password }
}

interface Provision {
  readonly placement: Placement
  readonly admin: AdminDb
  readonly url: string
  readonly id: string
  readonly runtime: Runtime | undefined
}

/** Returns the login of the odd generations and that of the even ones. */
async function provision(t: Scope, { placement, admin, url, id, runtime }: Provision) {
  const { host, port, database, tls } = parseDatabaseUrl(url)
  if (placement.hasOwnLogin) t.teardown(() => placement.unprovision(admin, id))
  const logins = []
  for (const colour of COLOURS) {
    const { user, parameters, database: own } = placement.login(id, colour)
    const address = { server: 'default', host, port, tls, database: own ?? database, parameters }
    const generation = colour === 'blue' ? 1 : 0
    if (runtime !== undefined) {
      logins.push({ generation, target: { ...address, ...runtime, isShared: true } })
      continue
    }
    const password = randomPassword()
    const verifier = scramVerifier(password)
    await placement.provision(admin, { tenantId: id, colour, verifier, limits: ROLE_LIMITS })
    logins.push({ generation, target: { ...address, user, password } })
  }
  if (placement.hasOwnTables) await placement.migrate(admin, id, { lockTimeoutMs: 0 })
  return logins
}
