import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../scenario.ts'
import { loadBegan } from '../stage.ts'

const PAUSE_MS = 3_000
/** From the database's being back to the last refusal: a breaker's pause and a probe. */
const RECOVERY_MS = 5_000

/**
 * databaseRestart restarts PostgreSQL twice under load, in order and by a crash. The control database is
 * on the same server, so that all is away at once.
 */
export const databaseRestart: Scenario = {
  name: 'database-restart',
  about: 'PostgreSQL is restarted and crashes under the load of 16 callers; 40 seconds',
  database: 'runner',
  service: { SERVER_MAX_CONNECTIONS: '24', API_KEY_CACHE_SECONDS: '600' },
  script: { TENANTS: '12', CALLERS: '16', DURING_SECONDS: '24', AFTER_SECONDS: '6' },
  maxSeconds: 120,
  excused: ['no server errors', 'opens'],
  async meanwhile(stage) {
    const { database, signal } = stage
    if (database === undefined) throw new Error('bug: the database is not the runner’s')
    await loadBegan(stage)
    await sleep(PAUSE_MS, undefined, { signal })
    const restartMs = await timed(() => database.restart())
    await sleep(PAUSE_MS, undefined, { signal })
    const crashMs = await timed(() => database.crash())
    return { restart_ms: restartMs, crash_ms: crashMs, back_at: Date.now() }
  },
  claims: ({ k6: { gauges, counters }, facts }) => {
    const recoveryMs = (gauges.last_refusal_at ?? 0) - (facts.back_at ?? 0)
    return [
      {
        claim: 'the restarts were felt',
        held: (counters.CONNECTION_LOST ?? 0) > 0,
        seen: `${counters.CONNECTION_LOST} connections lost`,
      },
      {
        claim: `nobody was refused ${RECOVERY_MS} ms after the database was back`,
        held: recoveryMs < RECOVERY_MS,
        seen: `${recoveryMs} ms after`,
      },
    ]
  },
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return Math.round(performance.now() - start)
}
