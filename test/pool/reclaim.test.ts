import t from 'tap'
import { cheapestToLose, type Price, priceOf } from '../../src/pool/reclaim.ts'
import type { Slot, SlotOwner } from '../../src/pool/slot.ts'

const NOW = 10_000

interface Idle {
  readonly name: string
  readonly since: number
  /** Connections of its pool; 1 without it. */
  readonly open?: number
  /** Without it the pool's entry is not idle. */
  readonly price?: number
  readonly state?: Slot['state']
  readonly server?: string
}

/** lost is which connection goes, and whether its whole entry does. */
function lost(
  idle: readonly Idle[],
  need: { hasNone?: boolean; shortage?: 'process' | { server: string } | { tenantId: string } } = {},
) {
  const slots = new Map<Slot, SlotOwner>()
  const names = new Map<Slot, string>()
  const prices = new Map<SlotOwner, number | undefined>()
  for (const { name, since, open = 1, price, state = 'idle', server = 's' } of idle) {
    const slot = { state, since } as Slot
    const pool = { tenantId: name, server, open } as SlotOwner
    slots.set(slot, pool)
    names.set(slot, name)
    prices.set(pool, price)
  }
  const price: Price = (pool) => prices.get(pool)
  const victim = cheapestToLose(slots, { shortage: 'process', hasNone: true, ...need }, NOW, price)
  return victim && `${names.get(victim.slot)}${victim.wholeEntry ? ', whole' : ''}`
}

t.test('a surplus connection goes first, the one that has been idle longest', async (t) => {
  const cheap = { name: 'cheap', since: 0, price: 0 }
  t.equal(
    lost([cheap, { name: 'new', since: 9_000, open: 2 }, { name: 'old', since: 8_000, open: 2 }]),
    'old',
  )
  t.equal(
    lost([
      { name: 'old', since: 8_000, open: 2 },
      { name: 'new', since: 9_000, open: 2 },
    ]),
    'old',
  )
  t.equal(
    lost([
      { name: 'first', since: 8_000, open: 2 },
      { name: 'second', since: 8_000, open: 2 },
    ]),
    'first',
  )
})

t.test(
  'then the entry with the lowest price, and of equals the one that has been idle longest',
  async (t) => {
    const dear = { name: 'dear', since: 0, price: 5 }
    const cheap = { name: 'cheap', since: 9_000, price: 4 }
    t.equal(lost([dear, cheap]), 'cheap, whole')
    t.equal(lost([cheap, dear]), 'cheap, whole')
    t.equal(lost([{ ...cheap, name: 'newer', since: 9_500 }, cheap]), 'cheap, whole')
  },
)

t.test('then the only one of a pool that has a lease, once it has run nothing for 10 ms', async (t) => {
  const leased = { name: 'leased', since: NOW - 10 }
  t.equal(lost([leased, { name: 'idle', since: NOW, price: 1_000_000 }]), 'idle, whole')
  t.equal(lost([leased]), 'leased')
  t.equal(lost([{ ...leased, since: NOW - 9 }]), undefined)
})

t.test('who has a connection already takes no other’s only one within 250 ms', async (t) => {
  const only = { name: 'only', since: NOW - 249, price: 1 }
  t.equal(lost([only], { hasNone: false }), undefined)
  t.equal(lost([only], { hasNone: true }), 'only, whole')
  t.equal(lost([{ ...only, since: NOW - 250 }], { hasNone: false }), 'only, whole')
  t.equal(lost([{ ...only, open: 2 }], { hasNone: false }), 'only')
})

t.test('only connections that are idle and cause the shortage count', async (t) => {
  const here = { name: 'here', since: 0, open: 2 }
  const there = { name: 'there', since: 1, open: 2, server: 'other' }
  t.equal(lost([here, there], { shortage: { server: 'other' } }), 'there')
  t.equal(lost([here, there], { shortage: { tenantId: 'there' } }), 'there')
  t.equal(lost([here, there], { shortage: { server: 'none' } }), undefined)
  t.equal(lost([{ ...here, state: 'busy' }, there]), 'there')
  t.equal(lost([]), undefined)
})

t.test(
  'the price falls with the time that an entry was idle, and doubles with each early return',
  async (t) => {
    t.equal(priceOf({ reopenMs: 9, strikes: 0 }, 0), 10)
    t.equal(priceOf({ reopenMs: 9, strikes: 0 }, 4), 2)
    t.equal(priceOf({ reopenMs: 9, strikes: 3 }, 4), 16)
    t.equal(priceOf({ reopenMs: 0, strikes: 0 }, 0), 1)
  },
)
