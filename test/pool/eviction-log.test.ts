import t from 'tap'
import type { EvictionReason, EvictionRecord } from '../../src/pool/contract.ts'
import { EvictionLog } from '../../src/pool/eviction-log.ts'

const AT = 10_000
const MS = 5_000

function evicted(reason: EvictionReason, at = AT, tenantId = 'a'): EvictionRecord {
  return { tenantId, at, reason } as EvictionRecord
}

t.test('who comes back within the time, to the millisecond, was evicted too early', async (t) => {
  for (const [after, isThrash] of [
    [0, true],
    [MS, true],
    [MS + 1, false],
  ] as const) {
    const log = new EvictionLog()
    log.add(evicted('idle'))
    t.strictSame(log.reopened('a', MS, AT + after), { isThrash, strikes: isThrash ? 1 : 0 }, `${after} ms`)
  }
})

t.test('only an eviction for want of room or use can be too early', async (t) => {
  for (const [reason, isThrash] of [
    ['idle', true],
    ['capacity', true],
    ['budget', true],
    ['rotation', false],
    ['suspension', false],
    ['deletion', false],
    ['failure', false],
    ['operator', false],
    ['shutdown', false],
  ] as const) {
    const log = new EvictionLog()
    log.add(evicted(reason))
    t.equal(log.reopened('a', MS, AT).isThrash, isThrash, reason)
  }
})

t.test('strikes add up, stay with an eviction that was meant, and go one by one', async (t) => {
  const log = new EvictionLog()
  t.strictSame(log.reopened('a', MS, AT), { isThrash: false, strikes: 0 })
  const seen: number[] = []
  for (const [reason, after] of [
    ['idle', 0],
    ['capacity', 1],
    ['operator', MS],
    ['budget', MS + 1],
    ['idle', MS + 1],
    ['idle', MS + 1],
    ['idle', 0],
  ] as const) {
    log.add(evicted(reason))
    seen.push(log.reopened('a', MS, AT + after).strikes)
  }
  t.strictSame(seen, [1, 2, 2, 1, 0, 0, 1])
  t.strictSame(log.reopened('b', MS, AT), { isThrash: false, strikes: 0 }, 'another tenant has its own')
})

t.test('evictions are counted by reason, and the last 500 are kept, newest first', async (t) => {
  const log = new EvictionLog()
  for (let at = 1; at <= 501; at++) log.add(evicted(at === 501 ? 'budget' : 'idle', at))
  t.strictSame(
    log.list().map(({ at }) => at),
    Array.from({ length: 500 }, (_, i) => 501 - i),
  )
  t.strictSame(log.counts(), {
    idle: 500,
    capacity: 0,
    budget: 1,
    rotation: 0,
    suspension: 0,
    deletion: 0,
    failure: 0,
    operator: 0,
    shutdown: 0,
  })
})
