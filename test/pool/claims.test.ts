import t from 'tap'
import { type Claimant, Claims } from '../../src/pool/claims.ts'

interface Part {
  readonly used: number
  readonly weight: number
}

function claimant(tenantId: string, server = 's'): Claimant {
  return { tenantId, server, maxConnections: 5, weight: 1, open: 0, waiting: 1, grow: () => {} }
}

function setUp(parts: Readonly<Record<string, Part>>, servers: Readonly<Record<string, string>> = {}) {
  const claims = new Claims(({ tenantId }) => parts[tenantId] ?? { used: 0, weight: 1 })
  const all = Object.keys(parts).map((tenantId) => claimant(tenantId, servers[tenantId]))
  for (const each of all) claims.add(each)
  const named = (each: Claimant | undefined): string | undefined => each?.tenantId
  return { claims, all, named }
}

const anyone = (): boolean => true

t.test('a tenant without a connection comes before all weights', async (t) => {
  const { claims, named } = setUp({ heavy: { used: 1, weight: 100 }, none: { used: 0, weight: 1 } })
  t.equal(named(claims.neediestOf(anyone)), 'none')
})

t.test(
  'else the one that would have least for its weight with one more, and of equals the first',
  async (t) => {
    const least = setUp({ a: { used: 1, weight: 1 }, b: { used: 3, weight: 4 }, c: { used: 3, weight: 2 } })
    t.equal(least.named(least.claims.neediestOf(anyone)), 'b')
    t.equal(least.named(least.claims.neediestOf(({ tenantId }) => tenantId !== 'b')), 'a')
    t.equal(
      least.claims.neediestOf(() => false),
      undefined,
    )
    const equal = setUp({ a: { used: 1, weight: 1 }, b: { used: 1, weight: 1 } })
    t.equal(equal.named(equal.claims.neediestOf(anyone)), 'a')
  },
)

t.test('the neediest behind a shortage comes with the neediest of another tenant', async (t) => {
  const parts = { a: { used: 0, weight: 1 }, b: { used: 1, weight: 1 }, c: { used: 0, weight: 1 } }
  const { claims } = setUp(parts, { c: 'other' })
  claims.add(claimant('a'))
  const named = (found: readonly Claimant[]): readonly string[] => found.map(({ tenantId }) => tenantId)
  t.strictSame(named(claims.neediest('process')), ['a', 'c'])
  t.strictSame(named(claims.neediest({ server: 's' })), ['a', 'b'])
  t.strictSame(named(claims.neediest({ server: 'other' })), ['c'])
  t.strictSame(named(claims.neediest({ tenantId: 'b' })), ['b'])
  t.strictSame(named(claims.neediest({ server: 'none' })), [])
})

t.test('what was found holds until something changes', async (t) => {
  const parts: Record<string, Part> = { a: { used: 0, weight: 1 }, b: { used: 1, weight: 1 } }
  const { claims } = setUp(parts)
  const found = claims.neediest('process')
  parts.a = { used: 9, weight: 1 }
  t.equal(claims.neediest('process'), found)
  claims.changed()
  t.strictSame(
    claims.neediest('process').map(({ tenantId }) => tenantId),
    ['b', 'a'],
  )
})

t.test('a claim is there once, and goes once', async (t) => {
  const { claims, all } = setUp({ a: { used: 0, weight: 1 }, b: { used: 0, weight: 1 } })
  const [a, b] = all
  if (a === undefined || b === undefined) throw new Error('there are two')
  t.equal(claims.size, 2)
  t.equal(claims.add(a), false)
  t.strictSame([...claims], [a, b])
  t.strictSame(claims.neediest('process'), [a, b])
  t.equal(claims.remove(a), true)
  t.equal(claims.remove(a), false)
  t.strictSame(claims.neediest('process'), [b])
  t.equal(claims.add(a), true)
  t.strictSame(claims.neediest('process'), [b, a])
  t.strictSame([claims.remove(a), claims.remove(b), claims.remove(b), claims.size], [true, true, false, 0])
})

t.test('a claimant is next when no other tenant that counts is as needy', async (t) => {
  const { claims } = setUp({ a: { used: 1, weight: 1 }, b: { used: 3, weight: 1 } })
  const own = claimant('a')
  t.equal(claims.isNext(own, anyone), true, 'a claim of its own tenant does not count')
  t.equal(claims.isNext(claimant('b'), anyone), false)
  t.equal(
    claims.isNext(claimant('b'), () => false),
    true,
  )
  const equal = setUp({ a: { used: 1, weight: 1 }, b: { used: 1, weight: 1 } })
  t.equal(equal.claims.isNext(claimant('b'), anyone), false, 'as needy is enough')
})

t.test('another pool of the same tenant is told from the own one', async (t) => {
  const { claims, all } = setUp({ a: { used: 0, weight: 1 }, b: { used: 0, weight: 1 } })
  const [a] = all
  if (a === undefined) throw new Error('there are two')
  t.equal(claims.hasAnother(a), false)
  t.equal(claims.hasAnother(claimant('a')), true)
  t.equal(claims.hasAnother(claimant('c')), false)
})
