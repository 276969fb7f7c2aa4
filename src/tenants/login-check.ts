import type { Placement } from '../placement/placement.ts'
import { ConnectionDb } from '../pool/connection-db.ts'
import type { Connect, ConnectionTarget, Pools } from '../pool/contract.ts'
import { openError } from '../pool/driver-errors.ts'
import { whileCrowded } from '../pool/while-crowded.ts'

export interface LoginCheckOptions {
  readonly connect: Connect
  readonly pools: Pick<Pools, 'reserve'>
  readonly placement: Placement
  readonly target: ConnectionTarget
  readonly tenantId: string
  /** Longest time for the whole check, without the wait for a connection of the budgets. */
  readonly timeoutMs: number
}

/**
 * checkLogin logs in for real and proves that the walls stand, on one connection of the budgets.
 * @throws LessorError POOL_OPEN_FAILED when the login fails, what Pools.reserve and Placement.check throw
 */
export async function checkLogin(options: LoginCheckOptions): Promise<void> {
  const { pools, target, tenantId } = options
  const reservation = await pools.reserve(target.server, tenantId, new AbortController())
  try {
    await checkOnce(options)
  } finally {
    reservation.release()
  }
}

/** Its socket is closed when it returns. */
async function checkOnce(options: LoginCheckOptions): Promise<void> {
  const { placement, target, tenantId } = options
  const signal = AbortSignal.timeout(options.timeoutMs)
  const connection = await whileCrowded(() => options.connect(target, signal), signal).catch(
    (error: unknown) => {
      throw openError(error)
    },
  )
  const abort = () => connection.destroy()
  signal.addEventListener('abort', abort, { once: true })
  try {
    await placement.check(new ConnectionDb(connection), tenantId)
    await connection.close()
  } catch (error) {
    connection.destroy()
    await connection.lost
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
