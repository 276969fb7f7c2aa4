import type { DatabaseAddress } from '../control/database-url.ts'
import type { AdminDb } from '../placement/placement.ts'
import { sql } from '../pool/statement.ts'
import { PLACEMENTS, type PlacementName } from '../tenants/tenant.ts'
import type { Capabilities } from './capabilities.ts'
import {
  canPartition,
  checksPasswords,
  locksByAdvice,
  notifies,
  separatesDatabases,
  tablespaces,
} from './probe-abilities.ts'
import { detectEngine } from './probe-engine.ts'
import { clear, clearStale, makeRoles, makeTable, planStage, type Stage } from './probe-stage.ts'
import { WALL_CHECKS } from './probe-walls.ts'
import { reasonOf } from './reason.ts'
import { refusalCode, Unfit } from './unfit.ts'

export interface ProbeOptions {
  /** An administrator of the data server, connected to the database that is to hold tenants; nobody else works through it meanwhile. */
  readonly admin: AdminDb
  /** The same administrator's login. */
  readonly address: DatabaseAddress
}

const NEEDS_CREATEROLE = 'the administrator may not make roles: give it CREATEROLE'
const NEEDS_CREATEDB = 'the administrator may not make databases: give it CREATEDB'
const NEEDS_DATABASE =
  'the administrator may not make schemas in the database: make it the owner of the database'
const NEEDS_PROPAGATION = 'Citus does not make the database of a tenant on its workers'
const INSUFFICIENT_PRIVILEGE = '42501'

/**
 * runProbe finds out what a data server can do by trying it, never by its version: two tenants are made whose
 * rows must be hidden from each other. All of it is removed again, also when it fails half-way.
 * @throws LessorError SERVER_UNAVAILABLE
 */
export async function runProbe({ admin, address }: ProbeOptions): Promise<Capabilities> {
  const [row] = await admin.query<{ version: string }>(
    sql`select current_setting('server_version') as version`,
  )
  const engine = await detectEngine(admin)
  await clearStale(admin)
  const stage = await planStage(admin, address, engine)
  try {
    return { version: row?.version ?? '', engine, ...(await tryAll(stage)) }
  } finally {
    await clear(stage)
  }
}

type Found = Omit<Capabilities, 'version' | 'engine'>

const NOTHING: Found = {
  placements: [],
  partitions: false,
  tablespaces: [],
  notify: false,
  advisory_locks: false,
  create_database: false,
  create_role: false,
  problems: [],
  notes: [],
}

async function tryAll(stage: Stage): Promise<Found> {
  const problems = new Map<PlacementName, string>()
  const blame = (placements: readonly PlacementName[], reason: string) => {
    for (const placement of placements) if (!problems.has(placement)) problems.set(placement, reason)
  }
  const none = (reason: string, found: Partial<Found> = {}): Found => ({
    ...NOTHING,
    ...found,
    problems: PLACEMENTS.map((placement) => ({ placement, reason })),
  })

  const roles = await attempt(() => makeRoles(stage), NEEDS_CREATEROLE)
  if (roles !== undefined) return none(roles)
  const table = await attempt(() => makeTable(stage), NEEDS_DATABASE)
  if (table !== undefined) return none(table, { create_role: true })

  for (const check of WALL_CHECKS) {
    const reason = await attempt(() => check.run(stage))
    if (reason !== undefined) blame(check.placements, reason)
  }
  const database = await attempt(() => separatesDatabases(stage), NEEDS_CREATEDB)
  if (database !== undefined) blame(['database'], stage.engine === 'citus' ? NEEDS_PROPAGATION : database)

  return {
    placements: PLACEMENTS.filter((each) => !problems.has(each)),
    partitions: await canPartition(stage),
    tablespaces: await tablespaces(stage),
    notify: await notifies(stage),
    advisory_locks: await locksByAdvice(stage),
    create_database: database === undefined,
    create_role: true,
    problems: PLACEMENTS.flatMap((placement) => {
      const reason = problems.get(placement)
      return reason === undefined ? [] : [{ placement, reason }]
    }),
    notes: (await checksPasswords(stage))
      ? []
      : ['The server lets logins in without looking at their passwords (pg_hba.conf: trust)'],
  }
}

/**
 * Resolves with why it does not work; undefined when it does. `unprivileged` is said where a privilege is missing.
 * @throws LessorError SERVER_UNAVAILABLE
 */
async function attempt(work: () => Promise<void>, unprivileged?: string): Promise<string | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    if (error instanceof Unfit) return error.message
    const code = refusalCode(error)
    if (code === undefined) throw error
    if (code === INSUFFICIENT_PRIVILEGE && unprivileged !== undefined) return unprivileged
    return `${reasonOf(error)} (${code})`
  }
}
