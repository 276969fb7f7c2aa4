import type { Offence } from '../../tenants/tenant.ts'
import { type BlameLimits, isGuilty, isOthersFault } from './blame.ts'
import { isMigrator, isVisitor, spaceTenant, tenantOf } from './offender.ts'
import type { AutovacuumWorker, PreparedTransaction, Sight, TenantSession, Wait } from './sight.ts'

/** WatchLimits is what a tenant's login may do on a data server. */
export interface WatchLimits extends BlameLimits {
  /** The part of the table of locks that one login may have, from 0 to 1. */
  readonly lockPart: number
  readonly transactionMs: number
  /** The part of the sessions that is kept free, from 0 to 1. */
  readonly sessionPart: number
  /** Sessions of one login that the service opens from one node; so many are never taken from a login. */
  readonly poolSessions: number
  /** Nodes of the service. */
  readonly nodes: number
}

/** Ending is what is to be ended, why, and what was counted. */
export interface Ending {
  readonly target:
    | { readonly kind: 'session'; readonly session: TenantSession }
    | { readonly kind: 'prepared'; readonly prepared: PreparedTransaction }
    | { readonly kind: 'worker'; readonly worker: AutovacuumWorker }
  readonly tenantId: string
  /** Null for the work of autovacuum on a tenant's table. */
  readonly login: string | null
  readonly reason: Offence
  /** False when the service itself may have opened what is ended. */
  readonly isOffence: boolean
  /** For the log. */
  readonly facts: Readonly<Record<string, number>>
}

/** All tenants together may have so much of a table of locks. */
const PART_OF_ALL = 1 / 2
/** Younger ones are not why locks of those that have committed are kept. */
const KEPT_MS = 1_000
const NOTIFY_USAGE = 0.1
/** Younger ones are not why the queue is full. */
const NOTIFY_MS = 1_000
/** With less of it in use, the table of locks is not about to be full. */
const ROOMY_PART = 1 / 4
/** Longest analysis of one table of a tenant. */
const ANALYZE_MS = 300_000
const MIN_FREE_SESSIONS = 5

/**
 * decide says what is to be ended. Nothing of it depends on what a session has set for itself, and all of it can be
 * done twice. Each session is there once, with the first reason that holds.
 */
export function decide(sight: Sight, waits: readonly Wait[], limits: WatchLimits): readonly Ending[] {
  const found = [
    ...tooManyLocks(sight, limits),
    ...tooManyPredicateLocks(sight, limits),
    ...keptPredicateLocks(sight),
    ...blocking(sight, waits, limits),
    ...heldWorkers(sight, limits),
    ...fullQueue(sight),
    ...oldTransactions(sight, limits),
  ]
  const endings = found.filter((each, index) => found.findIndex((other) => isSame(each, other)) === index)
  const ended = new Set(endings.flatMap(({ target }) => (target.kind === 'session' ? [target.session] : [])))
  return [...endings, ...tooManySessions(sight, ended, limits)]
}

/** Holder is what has locks. */
interface Holder {
  readonly target: Exclude<Ending['target'], { readonly kind: 'worker' }>
  readonly login: string
  readonly locks: number
}

function tooManyLocks(
  { lockSize, locksPerOwner, prepared, sessions }: Sight,
  { lockPart }: WatchLimits,
): readonly Ending[] {
  const holders: readonly Holder[] = [
    ...sessions.map((session) => ({ ...session, target: { kind: 'session', session } }) as const),
    ...prepared.map((each) => ({ ...each, target: { kind: 'prepared', prepared: each } }) as const),
  ]
  return overfull(holders, { size: lockSize, part: lockPart, perOwner: locksPerOwner, reason: 'locks' })
}

function tooManyPredicateLocks(
  { locksPerOwner, predicateSize, sessions }: Sight,
  { lockPart }: WatchLimits,
): readonly Ending[] {
  const holders = sessions.map((session) => ({
    login: session.login,
    locks: session.predicateLocks,
    target: { kind: 'session', session } as const,
  }))
  return overfull(holders, {
    size: predicateSize,
    part: lockPart,
    perOwner: locksPerOwner,
    reason: 'predicate-locks',
  })
}

/**
 * Those of transactions that have committed stay until all have ended that were open then. Which of these are
 * serializable is seen only of those which have such locks themselves, so that the oldest of them goes, and else the oldest
 * of all. The more so it is no offence, and least of all of the login that has committed.
 */
function keptPredicateLocks({ predicateSize, predicatesKept, sessions }: Sight): readonly Ending[] {
  if (predicatesKept <= predicateSize * PART_OF_ALL) return []
  const open = sessions.filter(({ transactionMs }) => transactionMs !== null && transactionMs >= KEPT_MS)
  const serializable = open.filter(({ predicateLocks }) => predicateLocks > 0)
  const [oldest] = (serializable.length > 0 ? serializable : open).toSorted(
    (a, b) => (b.transactionMs ?? 0) - (a.transactionMs ?? 0),
  )
  if (oldest === undefined) return []
  const facts = { transaction_ms: oldest.transactionMs ?? 0, kept: predicatesKept, of: predicateSize }
  return [{ ...ofSession(oldest, 'predicate-locks', facts), isOffence: false }]
}

interface Table {
  readonly size: number
  /** The part of it that one login may have. */
  readonly part: number
  /** What it has for each session and prepared transaction. */
  readonly perOwner: number
  readonly reason: Offence
}

/**
 * Of each login that has too many, and then of the biggest while all together have, the biggest first until it fits. The
 * latter are an offence of a login which has more than the table has for as many sessions: many logins can share in one.
 */
function overfull(all: readonly Holder[], { part, perOwner, reason, size }: Table): readonly Ending[] {
  const holders = all.filter(({ locks }) => locks > 0).toSorted((a, b) => b.locks - a.locks)
  const byLogin = Map.groupBy(holders, ({ login }) => login)
  let sum = sumOf(holders)
  const endings: Ending[] = []
  for (const [login, own] of [...byLogin].toSorted(([, a], [, b]) => sumOf(b) - sumOf(a))) {
    const had = sumOf(own)
    let has = had
    for (const { locks, target } of own) {
      if (has <= size * part && sum <= size * PART_OF_ALL) break
      has -= locks
      sum -= locks
      const isOffence = had > size * part || had > own.length * perOwner
      const facts = { locks, login_locks: had, of: size }
      endings.push({ ...ofLogin(login), target, reason, isOffence, facts })
    }
  }
  return endings
}

function sumOf(holders: readonly Holder[]): number {
  return holders.reduce((sum, { locks }) => sum + locks, 0)
}

function blocking(sight: Sight, waits: readonly Wait[], limits: WatchLimits) {
  const { prepared, sessions } = sight
  const endings: Ending[] = []
  for (const wait of waits) {
    for (const blocker of wait.blockers) {
      const session = sessions.find(({ pid }) => pid === blocker.pid)
      const transaction = prepared.find(({ gid }) => gid === blocker.gid)
      const [found] = [
        ...(session === undefined ? [] : [{ ...session, target: { kind: 'session', session } as const }]),
        ...(transaction === undefined
          ? []
          : [{ ...transaction, target: { kind: 'prepared', prepared: transaction } as const }]),
      ]
      if (found === undefined) continue
      const { login, target } = found
      const heldMs =
        target.kind === 'session' ? (target.session.transactionMs ?? 0) : target.prepared.preparedMs
      const isHeldUp = waits.some((each) => each.pid === blocker.pid && isOthersFault(each, login, sight))
      if (!isGuilty(wait, { ...blocker, login, heldMs: Math.max(heldMs, wait.waitedMs), isHeldUp }, limits)) {
        continue
      }
      const facts = { waited_ms: wait.waitedMs, held_ms: heldMs, waiting_pid: wait.pid }
      endings.push({ ...ofLogin(login), target, reason: 'blocking', isOffence: true, facts })
    }
  }
  return endings
}

function heldWorkers({ workers }: Sight, { blockingMs }: WatchLimits): readonly Ending[] {
  return workers.flatMap((worker) => {
    const tenantId = tenantOfWork(worker)
    const limitMs = worker.isHeld ? blockingMs : ANALYZE_MS
    if (tenantId === undefined || !worker.isAnalyzing || worker.transactionMs < limitMs) return []
    return {
      target: { kind: 'worker', worker },
      tenantId,
      login: null,
      reason: 'autovacuum',
      isOffence: true,
      facts: { transaction_ms: worker.transactionMs },
    } satisfies Ending
  })
}

/** Only an analysis runs functions of the table's owner. */
function tenantOfWork({ database, work }: AutovacuumWorker): string | undefined {
  const [, schema] = /^autovacuum: (?:VACUUM )?ANALYZE ([^.]*)\./.exec(work) ?? []
  if (schema === undefined) return undefined
  return spaceTenant(database) ?? spaceTenant(schema)
}

/**
 * What keeps the queue's oldest notification is a listener in a transaction, which is older than the notification; which
 * sessions listen cannot be seen. So the oldest is ended, which is no offence: it may be
 * another's, who has kept the queue full until then.
 */
function fullQueue({ notifyMs, notifyUsage, sessions }: Sight): readonly Ending[] {
  if (notifyUsage <= NOTIFY_USAGE) return []
  const leastMs = Math.max(NOTIFY_MS, notifyMs)
  const [oldest] = sessions
    .filter(({ transactionMs }) => transactionMs !== null && transactionMs >= leastMs)
    .toSorted((a, b) => (b.transactionMs ?? 0) - (a.transactionMs ?? 0))
  if (oldest === undefined) return []
  const facts = { transaction_ms: oldest.transactionMs ?? 0, queue_percent: Math.round(notifyUsage * 100) }
  return [{ ...ofSession(oldest, 'notify', facts), isOffence: false }]
}

/** isRoomy says whether the table of locks is far from being full. */
export function isRoomy({ lockSize, locks }: Pick<Sight, 'lockSize' | 'locks'>): boolean {
  return locks < lockSize * ROOMY_PART
}

function oldTransactions({ prepared, sessions }: Sight, { transactionMs: limit }: WatchLimits) {
  const old = sessions.flatMap((session) => {
    const { login, transactionMs } = session
    // A migration has a limit of its own, and may take an hour.
    if (transactionMs === null || transactionMs <= limit || isMigrator(login)) return []
    return ofSession(session, 'transaction', { transaction_ms: transactionMs })
  })
  const left = prepared
    .filter(({ preparedMs }) => preparedMs > limit)
    .map(
      (each): Ending => ({
        ...ofLogin(each.login),
        target: { kind: 'prepared', prepared: each },
        reason: 'transaction',
        isOffence: true,
        facts: { transaction_ms: each.preparedMs },
      }),
    )
  return [...old, ...left]
}

/**
 * Of the logins that have most, those that idle longest first, until enough places are free. When none has more than the
 * service opens, those that have done nothing, or the same, for longer than a request takes; which is no offence.
 */
function tooManySessions({ sessions, slots }: Sight, ended: ReadonlySet<TenantSession>, limits: WatchLimits) {
  const { nodes, poolSessions, requestMs, sessionPart } = limits
  const reserve = Math.max(MIN_FREE_SESSIONS, Math.ceil(slots.open * sessionPart))
  let missing = reserve - (slots.open - slots.used + ended.size)
  const byLogin = Map.groupBy(
    sessions.filter((each) => !ended.has(each)).toSorted(byIdleness),
    ({ login }) => login,
  )
  const counts = new Map([...byLogin].map(([login, own]) => [login, own.length]))
  const toEnding = (session: TenantSession, isOffence: boolean): Ending => {
    const facts = { login_sessions: counts.get(session.login) ?? 0, open: slots.open, used: slots.used }
    return { ...ofSession(session, 'sessions', facts), isOffence }
  }
  const endings: Ending[] = []
  for (; missing > 0; missing--) {
    const [most] = [...byLogin.values()].toSorted((a, b) => b.length - a.length)
    const next = most !== undefined && most.length > poolSessions ? most.shift() : undefined
    if (next === undefined) break
    endings.push(toEnding(next, (counts.get(next.login) ?? 0) > poolSessions * nodes))
  }
  const quiet = [...byLogin.values()]
    .flat()
    .filter(({ login, quietMs }) => quietMs !== null && quietMs >= requestMs && !isMigrator(login))
    .toSorted((a, b) => (b.quietMs ?? 0) - (a.quietMs ?? 0))
  return [...endings, ...quiet.slice(0, Math.max(0, missing)).map((session) => toEnding(session, false))]
}

function byIdleness(a: TenantSession, b: TenantSession): number {
  if (a.isIdle !== b.isIdle) return a.isIdle ? -1 : 1
  return (b.quietMs ?? 0) - (a.quietMs ?? 0)
}

function ofSession(session: TenantSession, reason: Offence, facts: Ending['facts']): Ending {
  return { ...ofLogin(session.login), target: { kind: 'session', session }, reason, isOffence: true, facts }
}

function ofLogin(login: string): Pick<Ending, 'login' | 'tenantId'> {
  return { login, tenantId: tenantOf(login) }
}

function isSame({ target: a }: Ending, { target: b }: Ending): boolean {
  if (a.kind === 'session') return b.kind === 'session' && a.session === b.session
  if (a.kind === 'prepared') return b.kind === 'prepared' && a.prepared === b.prepared
  return b.kind === 'worker' && a.worker === b.worker
}

/** isOfVisitor says whether what is ended is a person's, so that its tenant has no part in it. */
export function isOfVisitor({ login }: Pick<Ending, 'login'>): boolean {
  return login !== null && isVisitor(login)
}
