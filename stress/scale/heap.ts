import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'

/** Sockets that were closed let go of their memory a few turns later. */
const SETTLE_MS = 50

/**
 * heapUsed collects what nobody holds any more and returns how many bytes are left.
 * @throws Error when Node runs without --expose-gc
 */
export async function heapUsed(): Promise<number> {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('run this by `npm run scale`: it needs node --expose-gc')
  await sleep(SETTLE_MS)
  // Finalizers run between collections and let go of more.
  for (let i = 0; i < 4; i++) {
    await gc({ type: 'major', execution: 'async' })
    await turn()
  }
  return process.memoryUsage().heapUsed
}
