import { LessorError } from '../errors.ts'
import type { PoolLimits } from './contract.ts'
import type { Flight, Slot } from './slot.ts'
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
 * gone, or whose answer is refused already, are doomed; they are cancelled as soon as that cannot hit another.
 *
 * A statement's time counts from when it became the first on its connection, so that none pays for those before
 * it. The first one whose time is up is cancelled whatever stands behind it: the server should have ended it by
 * itself. When it has not ended OBEY_MS later, the socket is dropped and all that is on it ends. So whatever is on
 * a connection that answers nothing has ended `statementTimeoutMs` + TIMEOUT_GRACE_MS + OBEY_MS after the last answer.
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
    case 'held': {
      const [first] = slot.flights
      if (first === undefined) return fencedFor(slot, age) >= OBEY_MS ? 'destroy' : undefined
      if (age >= WATCH_AFTER_MS) watchCallers(slot)
      return firstDue(slot, first, { now, isLate: age >= limits.statementTimeoutMs + TIMEOUT_GRACE_MS })
    }
    case 'idle':
    case 'closed':
      return undefined
  }
}

function watchCallers(slot: Slot): void {
  for (const flight of slot.flights) {
    flight.doomed ??= flight.running.refusal
    flight.unwatch ??= onAbort(flight.caller, (error) => {
      flight.doomed ??= error
    })
  }
}

function firstDue(
  slot: Slot,
  first: Flight,
  { now, isLate }: { now: number; isLate: boolean },
): 'cancel' | 'destroy' | undefined {
  if (isLate) first.doomed ??= new LessorError('STATEMENT_TIMEOUT', 'The statement ran into its time limit.')
  if (first.cancelledAt !== undefined && now - first.cancelledAt >= OBEY_MS) return 'destroy'
  if (first.cancelSentAt !== undefined && (slot.fences > 0 || now - first.cancelSentAt < AGAIN_MS)) {
    return undefined
  }
  // A cancel request hits whatever the connection runs when it arrives, so it is not sent while a
  // neighbour could be hit that is to live, unless the neighbour would wait for it without end.
  const isSafe = isLate || slot.state === 'held' || slot.flights.every(({ doomed }) => doomed !== undefined)
  return first.doomed !== undefined && isSafe ? 'cancel' : undefined
}

/** How long a connection on which nothing runs has waited for the end of a cancel request. */
function fencedFor(slot: Slot, age: number): number {
  return slot.state === 'busy' && slot.fences > 0 ? age : 0
}

function connectTimeout(ms: number): LessorError {
  const cause = Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' })
  return new LessorError('POOL_OPEN_FAILED', `The tenant's database did not answer within ${ms} ms.`, {
    cause,
    retryAfterSeconds: 1,
  })
}
