import { LessorError } from '../errors.ts'
import { ConnectionPool } from './connection-pool.ts'
import type { Locate } from './contract.ts'
import { isLoginRefused } from './driver-errors.ts'
import type { Engine } from './engine.ts'
import type { Entry } from './entry.ts'

/**
 * logIn finds where an entry's tenant logs in, gives the entry its pool, and resolves when the
 * pool's first connection is open. A refused login reads the credential once more: it may have been
 * rotated since. `onFailure` is called when a pool that was ready cannot open any connection.
 *
 * @throws LessorError POOL_OPEN_FAILED or POOL_SATURATED, the abort reason, or what `locate` throws
 */
export async function logIn(
  entry: Entry,
  engine: Engine,
  locate: Locate,
  onFailure: () => void,
): Promise<void> {
  try {
    await attempt()
  } catch (error) {
    if (!(error instanceof LessorError && isLoginRefused(error))) throw error
    await attempt()
  }

  async function attempt(): Promise<void> {
    const { signal } = entry.opening
    const target = await Promise.race([locate(entry, signal), aborted(signal)])
    signal.throwIfAborted()
    const pool = new ConnectionPool(engine, entry.tenantId, target, () => {
      // While the entry is opening, `ready` hears of it.
      if (entry.state === 'ready') onFailure()
    })
    entry.attach(pool)
    await pool.ready()
  }
}

/** aborted rejects with the signal's reason when it aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
