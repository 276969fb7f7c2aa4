import t from 'tap'
import { whoStays } from '../../src/ops/who-stays.ts'
import type { SweepReport } from '../../src/pool/contract.ts'
import { makePool } from './fixtures.ts'

const REPORT: SweepReport = {
  dryRun: true,
  startedAt: 0,
  durationMs: 0,
  resident: 7,
  idle: 4,
  evicted: [{ tenantId: 'gone', reason: 'idle', idleMs: 700_000, connections: 1, why: 'It is idle.' }],
  connectionsClosed: 0,
}

t.test('each pool that stays is counted under one reason', async (t) => {
  const pools = [
    makePool({ tenantId: 'gone', idleMs: 700_000 }),
    makePool({ tenantId: 'gone', state: 'draining' }),
    makePool({ tenantId: 'older', state: 'draining', leases: 1 }),
    makePool({ tenantId: 'opening', state: 'opening', waiting: 3 }),
    makePool({ tenantId: 'leased', leases: 1 }),
    makePool({ tenantId: 'waiting', waiting: 1 }),
    makePool({ tenantId: 'recent', idleMs: 599_000 }),
    makePool({ tenantId: 'just now', idleMs: 5 }),
    makePool({ tenantId: 'thrashed', idleMs: 700_000, idleLimitMs: 1_200_000 }),
  ]
  t.strictSame(whoStays(pools, REPORT, 600_000), {
    opening: 1,
    inUse: 2,
    recentlyUsed: 2,
    idleExtended: 1,
    nextInMs: 1000,
  })
})

t.test('where no pool is idle nobody knows who goes next', async (t) => {
  t.strictSame(whoStays([makePool({ leases: 1 })], { ...REPORT, evicted: [] }, 600_000), {
    opening: 0,
    inUse: 1,
    recentlyUsed: 0,
    idleExtended: 0,
    nextInMs: null,
  })
})
