import { hexOf } from '../placement/tenant-names.ts'
import type { ConnectionTarget } from '../pool/contract.ts'
import { sql } from '../pool/statement.ts'
import type { Attack, State, TableFacts } from './attack.ts'
import { type CatalogObject, readRights } from './catalog-objects.ts'
import type { CatalogReport } from './check-catalog.ts'
import { describe, describeOutcome, holds, NOT_DISTRIBUTED } from './expectation.ts'
import { openVictim, runLogins } from './logins.ts'
import { objectAttacks, type Place } from './object-attacks.ts'
import { IDENTITIES, type Identity, type StageReport, type Trial } from './report.ts'
import { seed } from './seed.ts'
import { openSession, outcomeOf, type Session, statementOf } from './session.ts'
import { sessionAttacks } from './session-attacks.ts'
import type { Stage, StageLimits, StageRole } from './stage.ts'
import { look, type Surroundings } from './surroundings.ts'
import { tableAttacks } from './table-attacks.ts'
import { trialOf } from './trial.ts'

/** StageResult is what came of one stage. */
export interface StageResult {
  readonly report: StageReport
  readonly catalog: CatalogReport
  readonly trials: readonly Trial[]
}

/** SQLSTATEs of a setting that names no tenant: it was never set, or is no UUID. */
const UNSET = ['42704']
const NO_UUID = ['22P02']
const MALFORMED = 'not-a-tenant'
const COPY_GAP =
  'COPY FROM was not tried: the workers refuse it while it runs, which the driver does not hear'

/** runStage makes rows in both tenants' tables and lets the one attack the other. */
export async function runStage(stage: Stage, limits: StageLimits): Promise<StageResult> {
  const around = await stage.inTables((admin) => look(admin, stage))
  const home = homeOf(stage, around.objects)
  const own = around.objects.filter((object) => isOwnTable(object, home))
  const { tables, unseeded, gaps } = await seed(stage, own, limits)
  if (!limits.isBounded) await analyze(stage, tables)

  // On a server with real tenants a table that takes no made-up row is a gap, and no alarm.
  const missing = limits.isBounded ? [] : unseeded
  const trials: Trial[] = missing.map((object) =>
    trialOf(stage, 'administrator', 'right', {
      object,
      attack: 'make a row to protect',
      expected: 'rows of both tenants',
      outcome: 'no row could be made of the columns’ types',
      holds: false,
    }),
  )
  // First, while the login that it began with is the one in use.
  if (!limits.isBounded && limits.withoutLogins !== true)
    trials.push(...(await runLogins(stage, limits, around)))
  const victim = await openVictim(stage, limits)
  try {
    for (const role of stage.roles) {
      const scene: Scene = { stage, limits, role, around, home, tables, victimPid: victim.pid }
      trials.push(...(await runRole(scene)))
    }
  } finally {
    await victim.close()
  }
  return {
    catalog: around.catalog,
    trials,
    report: {
      placement: stage.placement,
      server: stage.server,
      database: around.catalog.database,
      objects: around.objects.length,
      trials: trials.length,
      failed: trials.filter((trial) => !trial.holds).length,
      gaps: [
        ...gaps,
        ...(limits.isBounded ? unseeded.map((name) => `${name} has no rows: none could be made`) : []),
        ...(around.isDistributed ? [COPY_GAP] : []),
      ],
    },
  }
}

/** Statistics are what the planner and pg_stats would tell of another's rows. Without the right to it, there are older ones. */
async function analyze(stage: Stage, tables: readonly TableFacts[]): Promise<void> {
  await stage.inTables(async (admin) => {
    for (const { name } of tables) await outcomeOf(() => admin.query(statementOf(`analyze ${name}`)))
  })
}

interface Scene {
  readonly stage: Stage
  readonly limits: StageLimits
  readonly role: StageRole
  readonly around: Surroundings
  readonly home: ReadonlySet<string>
  readonly tables: readonly TableFacts[]
  readonly victimPid: number | undefined
}

async function runRole(scene: Scene): Promise<readonly Trial[]> {
  const { stage, limits, role } = scene
  const target = await role.target()
  const { 'rls.tenant_id': _, ...nameless } = target.parameters
  const session = await openSession(limits.connect, target, limits.connectTimeoutMs)
  const unnamed = await openSession(
    limits.connect,
    { ...target, parameters: nameless },
    limits.connectTimeoutMs,
  )
  try {
    const tables = await withRights(scene, session)
    const trials: Trial[] = []
    for (const identity of limits.identities ?? IDENTITIES) {
      const by = identity === 'unset' ? unnamed : session
      const value = identity === 'unset' ? await observed(unnamed) : named(stage, identity)
      const set = identity === 'unset' ? [] : [`set local rls.tenant_id = '${value}'`]
      const state = stateOf(scene, identity, value, target.isShared === true)
      for (const attack of attacksOf({ ...scene, tables }, state, target)) {
        if (!isPossible(attack, scene)) continue
        limits.signal.throwIfAborted()
        const before = [...role.before, ...set, ...(attack.before ?? [])]
        trials.push(await attempt(scene, by, identity, attack, before, state))
      }
    }
    return trials
  } finally {
    await Promise.all([session.close(), unnamed.close()])
  }
}

function attacksOf(scene: Scene, state: State, target: ConnectionTarget): readonly Attack[] {
  const { stage, limits, role, around, home, tables } = scene
  const owner = `to_${hexOf(stage.own.id)}`
  // Before PostgreSQL 16 the login has its owner's rights without asking for them.
  const isOwner = role.name === 'owner' || around.groups.includes(owner)
  const facts = tables.flatMap((table) =>
    tableAttacks(table, { ...state, isBounded: state.isBounded || isOwner }),
  )
  if (limits.isBounded) return facts
  const known = new Set(tables.map(({ name }) => name))
  const secrets = secretsOf(stage, state)
  const objects = around.objects
    .filter((object) => !known.has(object.name) && limits.only?.(object) !== false)
    // Many, and none of them looks at the setting.
    .filter(({ kind }) => kind !== 'system relation' || state.identity === 'right')
    // What belongs to the attacker himself he may change.
    .filter(
      ({ schema, owner }) => owner !== target.user && !(isOwner && (home.has(schema) || isBuilders(schema))),
    )
    .flatMap((object) => objectAttacks(object, placeOf(object, home), state, secrets))
  // The catalogs before the rest: a session finds its own statements there.
  if (state.identity !== 'right') return [...objects, ...facts]
  const session = sessionAttacks({
    user: target.user,
    mayBecome: new Set([...around.groups, ...(stage.hasOwnTables ? [owner] : [])]),
    // Another login of its own may go meanwhile, with the end of a rotation.
    roles: around.roles.filter(
      (role) => role !== `tb_${hexOf(stage.own.id)}` && role !== `tg_${hexOf(stage.own.id)}`,
    ),
    otherPid: scene.victimPid,
    isRevoked: around.isSuperuser,
    hasOwnTables: stage.hasOwnTables,
  })
  return [...objects, ...facts, ...(role.name === 'owner' || limits.withoutLogins === true ? [] : session)]
}

/** A copy that is let in costs the connection, which stands in for all where nobody logs in. */
function isPossible({ name }: Attack, { around, limits }: Scene): boolean {
  return name !== 'copy from' || !(around.isDistributed || limits.withoutLogins === true)
}

async function attempt(
  scene: Scene,
  session: Session,
  identity: Identity,
  attack: Attack,
  before: readonly string[],
  state: State,
): Promise<Trial> {
  const { stage, role, around } = scene
  const outcome = await session.attempt(before, attack.text)
  const { expect } = attack
  return trialOf(stage, role.name, identity, {
    object: attack.object,
    attack: attack.name,
    expected: describe(expect),
    outcome: describeOutcome(outcome, expect.kind === 'rows' ? expect.tenantId : undefined),
    holds: holds(expect, outcome, secretsOf(stage, state), around.isDistributed ? NOT_DISTRIBUTED : []),
  })
}

async function withRights(scene: Scene, session: Session): Promise<readonly TableFacts[]> {
  const { role, tables } = scene
  // The owner has every right, and uses them on its own rows.
  if (role.before.length > 0) {
    const rights = new Set(['select', 'insert', 'update', 'delete'] as const)
    return tables.map((table) => ({ ...table, rights }))
  }
  return Promise.all(
    tables.map(async (table) => ({ ...table, rights: await readRights(session.db, table.name) })),
  )
}

async function observed({ db }: Session): Promise<string | undefined> {
  const rows = await db.query<{ value: string | null }>(
    sql`select current_setting('rls.tenant_id', true) as value`,
  )
  return rows[0]?.value ?? undefined
}

function named({ own, other, gone }: Stage, identity: Exclude<Identity, 'unset'>): string {
  return { right: own.id, other: other.id, deleted: gone.id, empty: '', malformed: MALFORMED }[identity]
}

function stateOf(
  { stage, limits }: Scene,
  identity: Identity,
  value: string | undefined,
  isShared: boolean,
): State {
  const { own, other } = stage
  const tenant = value === undefined || value === '' || value === MALFORMED ? undefined : value
  const me = isShared ? tenant : own.id
  return {
    identity,
    me,
    named: tenant,
    unnamed: value === undefined ? UNSET : NO_UUID,
    victim: me === other.id ? own.id : other.id,
    marker: me === other.id ? other.marker : own.marker,
    canaries: [own.id, other.id],
    isBounded: limits.isBounded,
  }
}

/** secretsOf is what must not show: all texts of the other tenant, and in a service's shared login of both. */
function secretsOf({ own, other }: Stage, { me }: State): readonly string[] {
  if (me === own.id) return [other.marker, other.name]
  if (me === other.id) return [own.marker, own.name]
  return [own.marker, other.marker, own.name, other.name]
}

function homeOf({ hasOwnTables, own }: Stage, objects: readonly CatalogObject[]): ReadonlySet<string> {
  const schemas = objects.filter(({ kind }) => kind === 'schema')
  const mine = `t_${hexOf(own.id)}`
  const isHome = hasOwnTables
    ? ({ name }: CatalogObject) => name === mine || (own.target.database === mine && name === 'app')
    : ({ name, owner }: CatalogObject) => name === 'app' || (owner === 'lessor_owner' && !/^t_/.test(name))
  return new Set(schemas.filter(isHome).map(({ name }) => name))
}

/** One without tenant_id is nobody's own: every verb on it must be refused. */
function isOwnTable({ kind, schema, hasTenantId }: CatalogObject, home: ReadonlySet<string>): boolean {
  return kind === 'table' && hasTenantId && home.has(schema)
}

function placeOf({ schema, kind }: CatalogObject, home: ReadonlySet<string>): Place {
  if (kind === 'system relation') return 'system'
  return home.has(schema) ? 'home' : 'foreign'
}

/** Whoever may make tables may call what protects them. */
function isBuilders(schema: string): boolean {
  return schema === 'lessor'
}
