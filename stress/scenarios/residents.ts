import type { Scenario } from '../scenario.ts'

/**
 * residents reads and writes at random over four times as many tenants as may be resident, with
 * hardly more connections than pools, so that both limits are at work.
 */
export const residents: Scenario = {
  name: 'residents',
  about: '200 tenants, 50 pools resident and 52 connections at most, requests at random; a minute',
  service: { POOL_MAX_ENTRIES: '50', SERVER_MAX_CONNECTIONS: '52' },
  script: { TENANTS: '200', CALLERS: '24', SECONDS: '30' },
  maxSeconds: 180,
  claims: ({ service: { evictions, pools } }) => [
    { claim: 'every place was taken', held: pools.peak === 50, seen: `${pools.peak} resident` },
    { claim: 'pools were evicted for their place', held: (evictions.capacity ?? 0) > 0 },
  ],
}
