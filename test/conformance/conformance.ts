import { randomBytes } from 'node:crypto'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { isLessorError } from '../../src/errors.ts'
import { createLogger } from '../../src/http/logger.ts'
import { openStages } from '../../src/isolation/open-stages.ts'
import type { IsolationReport } from '../../src/isolation/report.ts'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import type { StageLimits } from '../../src/isolation/stage.ts'
import { createLessor, type Lessor } from '../../src/lessor.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import type { Capabilities } from '../../src/servers/capabilities.ts'
import { runProbe } from '../../src/servers/probe.ts'
import { reasonOf } from '../../src/servers/reason.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { PLACEMENTS, type PlacementName } from '../../src/tenants/tenant.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { UNWATCHED } from '../support/unwatched.ts'
import { type ConformanceReport, hasPassed, type Part, type PlacementReport } from './report.ts'
import { registrationOf, Target, type TriedTenant } from './target.ts'
import { runUsers } from './users.ts'

export interface ConformanceOptions {
  /** An administrator's login to the server that is tried. */
  readonly url: string
  /** An empty database on another server, or on the same, for the control plane. */
  readonly controlUrl: string
  /** The placements to try; all that the probe finds, without it. */
  readonly only?: readonly PlacementName[]
  /** Leaves what was made on the server. */
  readonly keep?: boolean
  /** What of the isolation proof is left out; nothing, without it. */
  readonly proof?: Partial<Pick<StageLimits, 'identities' | 'isBounded' | 'withoutLogins'>>
  readonly signal: AbortSignal
  /** Hears what is done now. */
  readonly onProgress?: (message: string) => void
}

const SERVER = 'tried'
/** Attacks wait for nobody, but workers of a cluster may be slow to be reached. */
const CONNECT_TIMEOUT_MS = 20_000

/**
 * runConformance finds out which placements a server of the PostgreSQL protocol carries: what the probe says,
 * then for each of these the users suite and the isolation proof, over a whole service whose data server it is.
 * What was made on the server is removed, also after a failure.
 * @throws UnusableTarget, LessorError SERVER_UNAVAILABLE
 */
export async function runConformance(options: ConformanceOptions): Promise<ConformanceReport> {
  const { onProgress = () => {}, signal } = options
  const operatorKey = randomBytes(32).toString('base64url')
  const lessor = createLessor(
    loadConfig({
      DATABASE_URL: options.controlUrl,
      OPERATOR_KEY: operatorKey,
      VAULT_KEYS: generateVaultKeys(),
      ...UNWATCHED,
    }),
    { logger: createLogger('silent').logger },
  )
  const app = await buildApp(lessor)
  try {
    const baseUrl = await app.listen({ host: '127.0.0.1', port: 0 })
    const target = await Target.open(options.url)
    try {
      onProgress('probe')
      const capabilities = await judge(lessor, target)
      const reports: PlacementReport[] = []
      for (const placement of options.only ?? PLACEMENTS) {
        const carried = capabilities.placements.includes(placement)
        const reason = capabilities.problems.find((each) => each.placement === placement)?.reason ?? null
        if (!carried) {
          reports.push({ placement, carried, reason, users: null, isolation: null })
          continue
        }
        onProgress(`${placement}: users suite`)
        const users = await runUsers({ baseUrl, operatorKey, placement, server: SERVER, signal })
        onProgress(`${placement}: isolation proof`)
        const isolation = await proveIsolation(lessor, placement, options)
        reports.push({ placement, carried, reason, users, isolation })
      }
      const wanted = reports.filter(({ carried }) => carried || options.only !== undefined)
      return {
        database: target.address.database,
        capabilities,
        placements: reports,
        passed: wanted.length > 0 && wanted.every(hasPassed),
      }
    } finally {
      if (!options.keep) {
        onProgress('cleaning up')
        const tenants = await tenantsOf(lessor)
        const logins = await loginsOf(lessor)
        await app.close()
        await target.close(tenants, logins)
      }
    }
  } finally {
    await app.close()
  }
}

/** What the probe says, less what the placements themselves refuse when the server is registered. */
async function judge({ servers }: Lessor, target: Target): Promise<Capabilities> {
  const { address } = target
  const admin = new ServerAdmin({ address })
  const probed = await runProbe({ admin, address }).finally(() => admin.close())
  if (probed.placements.length === 0) return probed
  try {
    const { capabilities } = await servers.register({ name: SERVER, ...registrationOf(target) })
    return capabilities ?? probed
  } catch (error) {
    if (isLessorError(error) && error.code !== 'SERVER_UNSUITABLE') throw error
    const problems = PLACEMENTS.map((placement) => ({ placement, reason: reasonOf(error) }))
    return { ...probed, placements: [], problems }
  }
}

async function proveIsolation(
  lessor: Lessor,
  placement: PlacementName,
  { proof, signal }: ConformanceOptions,
): Promise<Part> {
  const { tenants, servers, placements, locate } = lessor
  try {
    const stages = openStages({
      tenants,
      servers,
      placements,
      locate,
      server: SERVER,
      only: [placement],
      signal,
    })
    return partOf(
      await runIsolation({
        stages,
        connect: openConnection,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        isBounded: false,
        ...proof,
        signal,
      }),
    )
  } catch (error) {
    signal.throwIfAborted()
    return { passed: 0, failed: 1, failures: [`it could not be carried out: ${messageOf(error)}`] }
  }
}

function partOf({ trials, catalogs }: IsolationReport): Part {
  const failures = [
    ...catalogs.flatMap(({ broken }) => broken.map((rule) => JSON.stringify(rule))),
    ...trials
      .filter(({ holds }) => !holds)
      .map(
        ({ role, identity, attack, object, expected, outcome }) =>
          `${role}, rls.tenant_id ${identity}: ${attack}, ${object}: expected ${expected}, got ${outcome}`,
      ),
  ]
  return { passed: trials.filter(({ holds }) => holds).length, failed: failures.length, failures }
}

async function tenantsOf({ control, placements }: Lessor): Promise<readonly TriedTenant[]> {
  const rows = await control.query<{ id: string; name: PlacementName }>(sql`
    select id, placement as name from lessor.tenants where server = ${SERVER}`)
  return rows.flatMap(({ id, name }) => {
    const placement = placements.get(name)
    return placement === undefined ? [] : [{ id, placement }]
  })
}

/** The login of all tenants of `row`. */
async function loginsOf({ control, servers }: Lessor): Promise<readonly string[]> {
  const [known] = await control.query(sql`select from lessor.servers where name = ${SERVER}`)
  if (known === undefined) return []
  const login = await servers.runtime(SERVER).catch(() => undefined)
  return login === undefined ? [] : [login.user]
}

function messageOf(error: unknown): string {
  const { cause, message } = error instanceof Error ? error : new Error(String(error))
  return cause instanceof Error ? `${message} (${cause.message})` : message
}
