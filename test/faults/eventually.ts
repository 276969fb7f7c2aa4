import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 20
/** Far beyond what any of it takes: only a defect runs into it. */
const PATIENCE_MS = 60_000

/**
 * eventually resolves when `look` finds nothing that is still missing, with the milliseconds it took.
 * @throws Error with what was missing last, when it stays so
 */
export async function eventually(
  look: () => Promise<string | undefined> | string | undefined,
): Promise<number> {
  const since = performance.now()
  for (;;) {
    const missing = await look()
    const ms = performance.now() - since
    if (missing === undefined) return Math.round(ms)
    if (ms > PATIENCE_MS) throw new Error(`still so after ${PATIENCE_MS / 1000} s: ${missing}`)
    await sleep(POLL_MS)
  }
}
