import { LessorError } from '../errors.ts'
import type { PoolLimits } from './contract.ts'
import type { Slot } from './slot.ts'
import { onAbort } from './waiting-room.ts'

/** How long a statement runs before its caller's signal is read at all; see Caller. */
const WATCH_AFTER_MS = 100
/** The role's own statement_timeout comes first; ours catches a session that changed it. */
const TIMEOUT_GRACE_MS = 500
/** How long the server may take to obey a cancel request or a goodbye before the socket is dropped. */
const OBEY_MS = 5_000
/**
 * How long until a cancel request is sent again. PostgreSQL drops one that comes before it has read the
 * statement (src/backend/tcop/postgres.c, ProcessInterrupts: nothing to cancel while it reads a command), as
 * when the backend got no time on a busy machine.
 */
const AGAIN_MS = 500

/**
 * overdue looks at one connection's deadlines and says what is due: `cancel` what it runs, or
 * `destroy` its socket. An opening that takes too long is aborted here. Statements whose caller has
 * gone, or whose time is up, are doomed; they are cancelled as soon as that cannot hit another.
 */
export function overdue(
  slot: Slot,
  now: number,
  limits: Pick<PoolLimits, 'connectTimeoutMs' | 'statementTimeoutMs'>,
): 'cancel' | 'destroy' | undefined {
  const age = now - slot.since
  switch (slot.state) {
    case 'opening':
      if (age >= limits.connectTimeoutMs) slot.opening.abort(connectTimeout(limits.connectTimeoutMs))
      return undefined
    case 'closing':
      return age >= OBEY_MS ? 'destroy' : undefined
    case 'busy':
    case 'held':
      if (age >= WATCH_AFTER_MS) watchCallers(slot)
      if (age >= limits.statementTimeoutMs + TIMEOUT_GRACE_MS) doomFirst(slot)
      return firstDue(slot, now)
    case 'idle':
    case 'closed':
      return undefined
  }
}

function watchCallers(slot: Slot): void {
  for (const flight of slot.flights) {
    flight.unwatch ??= onAbort(flight.caller, (error) => {
      flight.doomed ??= error
    })
  }
}

function doomFirst(slot: Slot): void {
  const [first] = slot.flights
  if (first === undefined) return
  first.doomed ??= new LessorError('STATEMENT_TIMEOUT', 'The statement ran into its time limit.')
}

function firstDue(slot: Slot, now: number): 'cancel' | 'destroy' | undefined {
  const [first] = slot.flights
  if (first === undefined) return undefined
  if (first.cancelledAt !== undefined && now - first.cancelledAt >= OBEY_MS) return 'destroy'
  if (first.cancelSentAt !== undefined && (slot.fences > 0 || now - first.cancelSentAt < AGAIN_MS)) {
    return undefined
  }
  // A cancel request hits whatever the connection runs when it arrives, so it is not sent while a
  // neighbour could be hit that is to live.
  const isSafe = slot.state === 'held' || slot.flights.every(({ doomed }) => doomed !== undefined)
  return first.doomed !== undefined && isSafe ? 'cancel' : undefined
}

function connectTimeout(ms: number): LessorError {
  const cause = Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' })
  return new LessorError('POOL_OPEN_FAILED', `The tenant's database did not answer within ${ms} ms.`, {
    cause,
    retryAfterSeconds: 1,
  })
}
