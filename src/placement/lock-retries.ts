import { setTimeout as delay } from 'node:timers/promises'
import { errorCode } from '../pool/driver-errors.ts'
import { type ScriptDb, sql } from '../pool/statement.ts'

/** What a transaction gets that met somebody else's lock, or changed the catalog at the same moment. */
const IN_THE_WAY = new Set([
  '55P03', // lock_not_available
  '40P01', // deadlock_detected
  '40001', // serialization_failure
  '53200', // out_of_memory: no room for its locks
  'XX000', // internal_error: "tuple concurrently updated"
])
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2_000

/** LockPatience is how long each try waits for a lock, and for how long there are tries. */
export interface LockPatience {
  /**
   * Below the server's deadlock_timeout, a second by default: whoever comes after us waits for us, and in a
   * deadlock we are to be the one who gives up.
   */
  readonly lockTimeoutMs: number
  readonly patienceMs: number
}

/** LOCK_PATIENCE is for tables that serve meanwhile. */
export const LOCK_PATIENCE: LockPatience = { lockTimeoutMs: 300, patienceMs: 300_000 }

/** BusyError says that somebody stood in the way of a change who was not to be waited for with a lock in hand. */
export class BusyError extends Error {
  override readonly name = 'BusyError'
  readonly code = '55P03'
}

/**
 * withLockRetries runs `fn` in a transaction that waits only shortly for each lock, again and again with
 * pauses in which everybody else goes on. Statements have no time limit in it.
 * @throws what the last try threw, or the signal's reason
 */
export async function withLockRetries<T>(
  admin: ScriptDb,
  { lockTimeoutMs, patienceMs }: LockPatience,
  signal: AbortSignal,
  fn: (tx: ScriptDb) => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + patienceMs
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted()
    try {
      return await admin.transaction(async (tx) => {
        await tx.query(sql`
          select set_config('lock_timeout', ${String(lockTimeoutMs)}, true),
            set_config('statement_timeout', '0', true)`)
        return fn(tx)
      })
    } catch (error) {
      if (!IN_THE_WAY.has(errorCode(error) ?? '') || performance.now() > deadline) throw error
    }
    await delay(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}
