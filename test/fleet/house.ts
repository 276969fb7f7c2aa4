import { randomBytes } from 'node:crypto'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import type { FleetEvent, FleetOptions, FleetReport, FleetRequest } from '../../src/fleet/fleet.ts'
import { createLogger } from '../../src/http/logger.ts'
import { createLessor, type Lessor } from '../../src/lessor.ts'
import { type Db, type Statement, sql } from '../../src/pool/statement.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { UNWATCHED } from '../support/unwatched.ts'

/** environment is the keys that all services of a test share. */
export const environment = {
  OPERATOR_KEY: randomBytes(32).toString('base64url'),
  VAULT_KEYS: generateVaultKeys(),
}

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => unknown): void
}

const APP = fileURLToPath(new URL('../../sql/app/', import.meta.url))

/** NOTES is a migration that cannot run twice in the same place. */
export const NOTES = `
create table notes (
  tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
  id uuid not null default gen_random_uuid(),
  text text not null,
  primary key (tenant_id, id)
);
select lessor.protect('notes');
`

/** appFolder copies sql/app and adds files to it: the next version of the application. */
export async function appFolder(t: Scope, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lessor-app-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(APP, folder, { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return folder
}

export interface FleetHouse {
  readonly lessor: Lessor
  /** What was logged, one parsed line each. */
  logged(): Record<string, unknown>[]
}

export interface FleetHouseOptions {
  readonly url: string
  /** Folder of another version of sql/app. */
  readonly appFiles?: string
  /** Keys of another process. */
  readonly keys?: Readonly<Record<string, string>>
  /** Serves as a node does; else it is opened as for a command. */
  readonly serves?: boolean
}

/** openFleetHouse opens the services on a version of the application, closed with `t`. */
export async function openFleetHouse(t: Scope, options: FleetHouseOptions): Promise<FleetHouse> {
  const { appFiles, keys = environment, serves = false, url } = options
  const lines: string[] = []
  const config = loadConfig({
    DATABASE_URL: url,
    CONTROL_MAX_CONNECTIONS: '4',
    ...UNWATCHED,
    ...keys,
    ...(appFiles !== undefined && { APP_SQL_DIR: appFiles }),
  })
  const { logger } = createLogger(config.logLevel, { write: (line) => lines.push(line) })
  const lessor = createLessor(config, { logger })
  t.teardown(() => lessor.close())
  await (serves ? lessor.start() : lessor.open('control'))
  return { lessor, logged: () => lines.map((line) => JSON.parse(line)) }
}

/** onboard makes tenants that are gone, with all their databases and roles, when `t` ends. */
export async function onboard(
  t: Scope,
  { tenants, servers }: Pick<Lessor, 'tenants' | 'servers'>,
  ...placements: readonly PlacementName[]
): Promise<readonly string[]> {
  const ids: string[] = []
  for (const placement of placements) {
    const { tenant } = await tenants.onboard({
      name: `${placement} ${Math.random().toString(36).slice(2)}`,
      placement,
    })
    ids.push(tenant.id)
    if (placement === 'database') {
      t.teardown(async () => {
        const admin = await servers.admin('default')
        await admin.script(`drop database if exists ${databaseOf(tenant.id)} with (force)`)
      })
    }
  }
  return ids
}

/** databaseOf is the database, or the schema, of a tenant's own tables. */
export function databaseOf(tenantId: string): string {
  return `t_${tenantId.replaceAll('-', '')}`
}

/** asTenant runs a statement as the tenant, as a request would. */
export async function asTenant<Row extends object>(
  { pools, tenants }: Pick<Lessor, 'pools' | 'tenants'>,
  tenantId: string,
  statement: Statement,
): Promise<readonly Row[]> {
  return withTenant({ pools, tenants }, tenantId, (db) => db.query<Row>(statement))
}

/** withTenant leases the tenant's pool, as a request would. */
export async function withTenant<T>(
  { pools, tenants }: Pick<Lessor, 'pools' | 'tenants'>,
  tenantId: string,
  fn: (db: Db) => Promise<T>,
): Promise<T> {
  const { generation } = await tenants.get(tenantId)
  return pools.use({ tenantId, generation }, { signal: new AbortController().signal }, fn)
}

/** hasTable says whether a tenant has a table, looking as the tenant. */
export async function hasTable(lessor: Lessor, tenantId: string, table: string): Promise<boolean> {
  const [row] = await asTenant<{ present: boolean }>(
    lessor,
    tenantId,
    sql`select to_regclass(${table}) is not null as present`,
  )
  return row?.present === true
}

export const OPTIONS: FleetOptions = {
  canaries: [],
  canaryCount: 1,
  waveSize: 10,
  pauseMs: 0,
  concurrency: 4,
  serverConcurrency: 2,
  lockTimeoutMs: 2_000,
  attempts: 5,
  maxFailures: { kind: 'count', count: 0 },
}

/** request is a run of the whole fleet, with some options of the test's own. */
export function request(options: Partial<FleetOptions> = {}): FleetRequest {
  return { filter: { servers: [], placements: [], tenants: [] }, options: { ...OPTIONS, ...options } }
}

export interface Went {
  readonly report: FleetReport
  readonly events: readonly FleetEvent[]
  /** Ids in the order in which their turns ended. */
  readonly order: readonly string[]
}

/** migrate runs the fleet's migration and keeps what it said. */
export async function migrate(
  { fleet }: Pick<Lessor, 'fleet'>,
  asked: FleetRequest = request(),
  { onEvent, signal }: { onEvent?: (event: FleetEvent) => void; signal?: AbortSignal } = {},
): Promise<Went> {
  const events: FleetEvent[] = []
  const report = await fleet.migrate(
    asked,
    (event) => {
      events.push(event)
      onEvent?.(event)
    },
    signal ?? new AbortController().signal,
  )
  const order = events.flatMap((event) => (event.kind === 'tenant' ? [event.tenant.id] : []))
  return { report, events, order }
}

/** stage is a service on the released version, and one opened for a command on the next version. */
export async function stage(
  t: Test,
  files: Readonly<Record<string, string>> = { '000002-notes.sql': NOTES },
) {
  const { url } = await testDatabase(t, { template: 'control' })
  const now = await openFleetHouse(t, { url, serves: true })
  const appFiles = await appFolder(t, files)
  const next = await openFleetHouse(t, { url, appFiles })
  return { url, appFiles, now: now.lessor, next: next.lessor }
}

/** obstruct makes the migration of a tenant fail with 42P07, duplicate_table, until the function that it returns is called. */
export async function obstruct(lessor: Lessor, tenantId: string) {
  const admin = await lessor.servers.admin('default')
  await admin.script(`create table ${databaseOf(tenantId)}.notes ()`)
  return () => admin.script(`drop table ${databaseOf(tenantId)}.notes`)
}

/** lines are a run's events without retries, a few words each. */
export function lines(events: readonly FleetEvent[]): string[] {
  return events.filter(({ kind }) => kind !== 'retry').map(lineOf)
}

function lineOf(event: FleetEvent): string {
  switch (event.kind) {
    case 'begin':
      return `begin ${event.counts.pending}${event.resumed ? ' resumed' : ''}`
    case 'server':
      return `server ${event.outcome.state} ${event.outcome.ran}`
    case 'wave':
      return event.canary ? `canaries ${event.size}` : `wave ${event.number} of ${event.size}`
    case 'tenant':
      return `${event.tenant.placement} ${event.outcome.state} ${event.outcome.ran}`
    case 'stopping':
      return `stopping ${event.reason}`
    case 'retry':
      return `retry ${event.error}`
  }
}
