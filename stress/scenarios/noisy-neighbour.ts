import type { Scenario } from '../scenario.ts'

const SMALL = 8
const CALLERS = 500
/** How long a statement of the noisy one takes. */
const SLOW_SECONDS = 0.05

/**
 * noisyNeighbour has one tenant with hundreds of callers that are slow, and eight with one caller each,
 * on twelve connections. What the noisy one has queued up must not be in front of the others: they wait
 * about as long as if each had its part of the connections to itself.
 */
export const noisyNeighbour: Scenario = {
  name: 'noisy-neighbour',
  about: `one tenant with ${CALLERS} callers beside ${SMALL} with one each, on 12 connections; 40 seconds`,
  service: {
    SERVER_MAX_CONNECTIONS: '12',
    POOL_MAX_CONNECTIONS: '12',
    // Long enough for the noisy one's own queue, so that whoever is refused is refused unfairly.
    POOL_ACQUIRE_TIMEOUT_MS: '25000',
    API_KEY_CACHE_SECONDS: '600',
  },
  script: { SMALL: String(SMALL), CALLERS: String(CALLERS), QUIET_SECONDS: '8', NOISY_SECONDS: '18' },
  maxSeconds: 150,
  async before({ sql }) {
    await sql.unsafe(`
      create function app.take_a_while() returns trigger language plpgsql as $$
      begin
        perform pg_sleep(${SLOW_SECONDS});
        return new;
      end $$`)
    await sql`
      create trigger take_a_while before insert on app.users for each row when (new.last_name = 'slow')
      execute function app.take_a_while()`
  },
  claims({ k6: { trends, counters } }) {
    const { small_in_quiet: quiet, small_beside: beside, noisy } = trends
    if (quiet === undefined || beside === undefined || noisy === undefined) {
      throw new Error('the script measured nothing')
    }
    return [
      {
        claim: 'the noisy one waited in a queue of its own: p50 of many of its statements',
        held: noisy.p50 > 10 * 1000 * SLOW_SECONDS,
        seen: `${noisy.p50.toFixed(0)} ms`,
      },
      {
        claim: 'the small ones were served many times',
        held: (counters.small_requests_beside ?? 0) > 100 * SMALL,
        seen: String(counters.small_requests_beside),
      },
      {
        claim: "the small ones' p95 is below a tenth of the noisy one's",
        held: beside.p95 < noisy.p95 / 10,
        seen: `${beside.p95.toFixed(0)} ms against ${noisy.p95.toFixed(0)} ms`,
      },
      {
        claim: "the small ones' p95 is at most four of the noisy one's statements above that in quiet",
        held: beside.p95 < quiet.p95 + 4 * 1000 * SLOW_SECONDS,
        seen: `${beside.p95.toFixed(0)} ms against ${quiet.p95.toFixed(0)} ms`,
      },
    ]
  },
}
