import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../scenario.ts'
import { loadBegan } from '../stage.ts'

const LOAD_MS = 5_000

/**
 * drainUnderLoad sends SIGTERM to the service under load. A connection can end while a client sends its
 * next request on it, or before the service has accepted it, and no client can tell; what tells is the
 * database, which outlives the service. A write is in there exactly when its caller was told so.
 */
export const drainUnderLoad: Scenario = {
  name: 'drain-under-load',
  about: 'SIGTERM to the service under the load of 24 callers; 20 seconds',
  database: 'runner',
  service: { API_KEY_CACHE_SECONDS: '600', SERVER_MAX_CONNECTIONS: '40' },
  script: { TENANTS: '8', CALLERS: '12', SECONDS: '10' },
  maxSeconds: 90,
  // The figures are taken before the signal, while leases are held.
  excused: ['leases'],
  async meanwhile(stage) {
    await loadBegan(stage)
    await sleep(LOAD_MS, undefined, { signal: stage.signal })
    await stage.watch.stop()
    const start = performance.now()
    await stage.service.stop()
    return { drain_ms: Math.round(performance.now() - start) }
  },
  async after({ sql, log }) {
    const [row] = await sql<{ written: number }[]>`
      select count(*)::integer as written from app.users where last_name like 'caller %'`
    const [sessions] = await sql<{ left: number }[]>`
      select count(*)::integer as left from pg_stat_activity where usename ~ '^t[bg]_'`
    return {
      written: row?.written ?? 0,
      sessions_left: sessions?.left ?? 0,
      ...countAnswers(await readFile(log, 'utf8')),
    }
  },
  claims: ({ k6: { counters }, facts }) => [
    {
      claim: 'every write that the service made was confirmed to its caller, and no other',
      held: facts.written === counters.confirmed,
      seen: `${facts.written} written, ${counters.confirmed} confirmed`,
    },
    {
      claim: 'the service answered every request that it took on',
      held: facts.aborted === 0 && facts.server_errors === 0,
      seen: `${facts.aborted} aborted, ${facts.server_errors} server errors`,
    },
    { claim: 'requests were under way at the signal', held: (facts.after_signal ?? 0) > 0 },
    { claim: 'no session was left', held: facts.sessions_left === 0, seen: String(facts.sessions_left) },
  ],
}

/** The line of one request; see RequestLog in src/http/request-log.ts. */
interface Line {
  readonly msg: string
  readonly status?: number
}

function countAnswers(log: string): Record<'after_signal' | 'aborted' | 'server_errors', number> {
  const lines = log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line): Line => JSON.parse(line))
  const signal = lines.findIndex(({ msg }) => msg === 'shutting down')
  if (signal === -1) throw new Error('the log tells of no signal')
  const requests = lines.filter(({ msg }) => msg === 'request')
  return {
    after_signal: lines.slice(signal).filter(({ msg }) => msg === 'request').length,
    aborted: requests.filter(({ status }) => status === 499).length,
    server_errors: requests.filter(({ status = 0 }) => status >= 500).length,
  }
}
