import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../scenario.ts'

/** The last rotations drop their old logins when every process has drained its older pools. */
const DROPPED_WITHIN_MS = 10_000
const LOOK_MS = 100

/** rotateUnderLoad rotates tenants' credentials in turn while all of them work. */
export const rotateUnderLoad: Scenario = {
  name: 'rotate-under-load',
  about: "12 tenants' credentials are rotated in turn while 16 callers work; half a minute",
  service: { SERVER_MAX_CONNECTIONS: '40', API_KEY_CACHE_SECONDS: '600' },
  script: { TENANTS: '12', CALLERS: '16', SECONDS: '20' },
  maxSeconds: 120,
  async after({ sql, signal }) {
    const deadline = performance.now() + DROPPED_WITHIN_MS
    for (;;) {
      const [row] = await sql<{ tenants: number; logins: number; oldest: number }[]>`
        select
          (select count(*)::integer from lessor.tenants where status = 'active') as tenants,
          (select count(*)::integer from pg_roles where rolname ~ '^t[bg]_' and rolcanlogin) as logins,
          (select min(generation)::integer from lessor.tenants) as oldest`
      const { tenants = 0, logins = 0, oldest = 0 } = row ?? {}
      if (logins === tenants || performance.now() > deadline) {
        return { tenants, logins, lowest_generation: oldest }
      }
      await sleep(LOOK_MS, undefined, { signal })
    }
  },
  claims: ({ service: { evictions }, facts }) => [
    { claim: 'pools were evicted for the rotation', held: (evictions.rotation ?? 0) > 0 },
    {
      claim: 'every tenant was rotated',
      held: (facts.lowest_generation ?? 0) > 1,
      seen: `the lowest generation is ${facts.lowest_generation}`,
    },
    {
      claim: 'every tenant has one login left',
      held: facts.logins === facts.tenants,
      seen: `${facts.tenants} tenants, ${facts.logins} logins`,
    },
  ],
}
