import { setTimeout as sleep } from 'node:timers/promises'
import { CROWD_MS, crowdPause } from './crowds.ts'
import { isCrowded } from './driver-errors.ts'

/**
 * whileCrowded opens a connection outside of the pools, and tries again for {@link CROWD_MS} while others have taken all
 * that the server has.
 * @throws what `open` throws in the end; `signal.reason`
 */
export async function whileCrowded<T>(open: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const until = performance.now() + CROWD_MS
  for (let tries = 0; ; tries++) {
    try {
      return await open()
    } catch (error) {
      const pause = crowdPause(tries)
      if (!isCrowded(error) || performance.now() + pause > until) throw error
      await sleep(pause, undefined, { signal }).catch(() => {})
      signal?.throwIfAborted()
    }
  }
}
