import t from 'tap'
import { Sharing } from '../../src/pool/sharing.ts'
import type { Slot } from '../../src/pool/slot.ts'
import { type Statement, sql } from '../../src/pool/statement.ts'

/** What of a slot decides whether another statement may be sent on it. */
interface Look {
  readonly state: Slot['state']
  readonly flights: Pick<Slot['flights'], 'length'>
  readonly fences: number
  readonly connection: { readonly isUsable: boolean }
  readonly isRetiring: boolean
  readonly slow: number
  readonly since: number
}

function slot(look: Partial<Look> = {}): Slot {
  const shared: Look = {
    state: 'busy',
    flights: { length: 15 },
    fences: 0,
    connection: { isUsable: true },
    isRetiring: false,
    slow: 0,
    since: 100,
    ...look,
  }
  return shared as Slot
}

t.test(
  'a statement goes behind young ones, up to sixteen, and not where that could hold it up',
  async (t) => {
    const sharing = new Sharing()
    const mayShare = (look?: Partial<Look>, now = 103): boolean =>
      sharing.find([slot(look)], now) !== undefined
    t.equal(mayShare(), true)
    t.equal(mayShare({}, 103.1), false)
    t.equal(mayShare({ flights: { length: 16 } }), false)
    t.equal(mayShare({ state: 'idle' }), false)
    t.equal(mayShare({ state: 'held' }), false)
    t.equal(mayShare({ fences: 1 }), false)
    t.equal(mayShare({ connection: { isUsable: false } }), false)
    t.equal(mayShare({ isRetiring: true }), false)
    t.equal(mayShare({ slow: 1 }), false)
  },
)

t.test('the first connection that fits is taken', async (t) => {
  const [full, first, second] = [slot({ slow: 1 }), slot(), slot()]
  t.equal(new Sharing().find([full, first, second], 100), first)
  t.equal(new Sharing().find([], 100), undefined)
})

function statement(): Statement {
  return sql`select ${1}`
}

t.test('a statement is slow from 25 ms on, by its text and not its parameters', async (t) => {
  const sharing = new Sharing()
  const other = sql`select 1`
  t.equal(sharing.isSlow(statement()), false)
  sharing.ran(statement(), 24.9)
  t.equal(sharing.isSlow(statement()), false)
  sharing.ran(statement(), 25)
  t.equal(sharing.isSlow(statement()), true)
  t.equal(sharing.isSlow(other), false)
})

t.test('a slow run is forgotten once the average is down to 3 ms', async (t) => {
  const sharing = new Sharing()
  // An eighth of the newest run counts: 8 ms after this one.
  sharing.ran(statement(), 64)
  let runs = 0
  for (; sharing.isSlow(statement()); runs++) sharing.ran(statement(), 0)
  // 8 * (7/8)^8 is the first average below 3.
  t.equal(runs, 8)
  // A fast run of a statement that is not known is not remembered.
  sharing.ran(statement(), 24)
  t.equal(sharing.isSlow(statement()), false)
  // 25 ms make an average of 3.125 ms, and 2.125 ms bring it to 3 ms.
  sharing.ran(statement(), 25)
  t.equal(sharing.isSlow(statement()), true)
  sharing.ran(statement(), 2.125)
  t.equal(sharing.isSlow(statement()), false)
})
