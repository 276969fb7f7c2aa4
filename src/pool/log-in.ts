import { ConnectionPool } from './connection-pool.ts'
import type { ConnectionTarget, Locate } from './contract.ts'
import type { Engine } from './engine.ts'
import type { Entry } from './entry.ts'
import type { SharedPools } from './shared-pools.ts'
import type { TenantPool } from './tenant-pool.ts'

export interface LogInOptions {
  readonly locate: Locate
  readonly shared: SharedPools
  /** Called when a pool that was ready cannot open any connection. */
  readonly onFailure: () => void
}

/**
 * logIn finds where an entry's tenant logs in, gives the entry its pool, and resolves when the
 * pool's first connection is open. The pool reads the credential once more when a login is refused: it
 * may have been rotated since.
 *
 * @throws LessorError POOL_OPEN_FAILED, POOL_SATURATED, TENANT_UNAVAILABLE, SERVER_UNAVAILABLE, the abort
 *   reason, or what `locate` throws
 */
export async function logIn(
  entry: Entry,
  engine: Engine,
  { locate, shared, onFailure }: LogInOptions,
): Promise<void> {
  const target = await find()
  engine.breakers.isAt(entry.tenantId, target.server)
  const pool = target.isShared ? shared.join(entry.tenantId, target, find) : own(target)
  entry.attach(pool)
  await pool.ready()

  function own(target: ConnectionTarget): TenantPool {
    return new ConnectionPool(engine, entry.tenantId, {
      target,
      locate: find,
      onFailure() {
        // While the entry is opening, `ready` hears of it.
        if (entry.state === 'ready') onFailure()
      },
    })
  }

  async function find(): Promise<ConnectionTarget> {
    // An entry that is open has nothing that could end the reading but time.
    const signal = entry.opening?.signal ?? AbortSignal.timeout(engine.limits.connectTimeoutMs)
    const found = await Promise.race([locate(entry, signal), aborted(signal)])
    signal.throwIfAborted()
    return found
  }
}

/** aborted rejects with the signal's reason when it aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
