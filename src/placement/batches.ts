import { errorCode } from '../pool/driver-errors.ts'

/** isOutOfLocks says whether a transaction asked for more locks than the server has room for (53200 out_of_memory). */
export function isOutOfLocks(error: unknown): boolean {
  return errorCode(error) === '53200'
}

/**
 * inBatches runs `batch` again and again, each time for so many objects at most, until it resolves with false: nothing
 * was left. Each batch is a transaction of its own, so that what is done stays done. A batch that needs more locks
 * than the server has room for is made smaller; how many locks an object takes is its owner's to choose.
 * @throws what `batch` throws; 53200 when a single object is too much
 */
export async function inBatches(largest: number, batch: (size: number) => Promise<boolean>): Promise<void> {
  let size = largest
  for (;;) {
    try {
      if (!(await batch(size))) return
      size = Math.min(2 * size, largest)
    } catch (error) {
      if (!isOutOfLocks(error) || size === 1) throw error
      size = Math.ceil(size / 4)
    }
  }
}
