import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Outcome } from './fleet.ts'
import { failureCode, isRetried, retryPauseMs } from './retry.ts'

export interface AttemptOptions {
  readonly clock: Clock
  /** Tries, the first one included. */
  readonly attempts: number
  /** Ends a pause between two tries, and with it the work: its outcome is `pending`. */
  readonly signal: AbortSignal
  readonly onRetry: (error: string, waitMs: number) => void
}

/**
 * attempt runs a migration until it goes through, fails for a reason that a later try would meet again, or
 * has had its tries. Never rejects.
 */
export async function attempt(
  work: () => Promise<readonly string[]>,
  options: AttemptOptions,
): Promise<Outcome> {
  const { clock, signal, onRetry } = options
  const began = clock.now()
  const outcome = (state: Outcome['state'], attempts: number, rest: Partial<Outcome> = {}): Outcome => ({
    state,
    attempts,
    error: null,
    ran: [],
    ms: Math.round(clock.now() - began),
    ...rest,
  })
  for (let tries = 1; ; tries++) {
    try {
      const ran = await work()
      return outcome('done', tries, { ran })
    } catch (thrown) {
      const error = failureCode(thrown)
      if (!isRetried(error) || tries >= options.attempts) return outcome('failed', tries, { error })
      const waitMs = retryPauseMs(tries)
      onRetry(error, waitMs)
      if (!(await pause(waitMs, signal))) return outcome('pending', tries, { error })
    }
  }
}

/** pause resolves with false when it was cut short. */
export async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, undefined, { signal })
    return true
  } catch {
    return false
  }
}
