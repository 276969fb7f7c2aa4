import fc from 'fast-check'
import t from 'tap'
import { fairShares, mayTakeFrom } from '../../src/pool/fair-share.ts'
import { holds } from '../support/holds.ts'

t.test('shares fill up from below, by weight, and what one leaves goes to the others', async (t) => {
  const wishes = (...wants: number[]) => wants.map((each) => ({ wants: each, weight: 1 }))
  t.strictSame(fairShares(10, wishes(20, 20)), [5, 5])
  t.strictSame(fairShares(10, wishes(1, 20)), [1, 9])
  t.strictSame(fairShares(10, wishes(1, 2)), [1, 2])
  t.strictSame(fairShares(9, [{ wants: 9, weight: 2 }, ...wishes(9)]), [6, 3])
  t.strictSame(fairShares(4, []), [])
})

const wish = fc.record({ wants: fc.nat(50), weight: fc.integer({ min: 1, max: 10 }) })

t.test(
  'nobody gets more than it wants, nothing is wasted, and nobody could get more from one who is better off',
  async (t) => {
    await holds(
      t,
      fc.property(fc.nat(100), fc.array(wish, { maxLength: 20 }), (limit, wishes) => {
        const shares = fairShares(limit, wishes)
        const close = 1e-9
        const sum = shares.reduce((all, each) => all + each, 0)
        const wanted = wishes.reduce((all, { wants }) => all + wants, 0)
        if (Math.abs(sum - Math.min(limit, wanted)) > close * 100) throw new Error(`${sum} of ${limit}`)
        wishes.forEach(({ wants, weight }, i) => {
          const mine = shares[i] ?? 0
          if (mine > wants + close) throw new Error('more than it wants')
          if (mine >= wants - close) return
          const level = mine / weight
          for (const [k, other] of wishes.entries()) {
            if ((shares[k] ?? 0) / other.weight > level + close) throw new Error('somebody is better off')
          }
        })
      }),
    )
    t.pass('100 random wishes')
  },
)

t.test('moving one connection after another where it does more good ends, and ends fair', async (t) => {
  await holds(
    t,
    fc.property(
      fc.array(fc.record({ used: fc.nat(20), weight: fc.integer({ min: 1, max: 5 }) }), {
        minLength: 2,
        maxLength: 8,
      }),
      (start) => {
        const tenants = start.map((each) => ({ ...each }))
        const total = tenants.reduce((sum, { used }) => sum + used, 0)
        let moves = 0
        for (let moved = true; moved; ) {
          moved = false
          for (const rich of tenants) {
            for (const poor of tenants) {
              if (rich === poor || rich.used === 0 || !mayTakeFrom(rich, poor)) continue
              // With equal outcomes a move only swaps two tenants' places, and the engine's claims decide.
              if (
                (rich.used - 1) * poor.weight === (poor.used + 1) * rich.weight &&
                rich.used <= poor.used + 1
              )
                continue
              rich.used -= 1
              poor.used += 1
              moved = true
              moves += 1
              if (moves > 1000) throw new Error('it never ends')
            }
          }
        }
        if (total >= tenants.length && tenants.every(({ weight }) => weight === 1)) {
          const used = tenants.map((each) => each.used)
          if (Math.max(...used) - Math.min(...used) > 1) throw new Error(`not fair: ${used}`)
        }
      },
    ),
  )
  t.pass('100 random starts')
})
