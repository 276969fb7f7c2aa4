import t from 'tap'
import { Offences } from '../../../src/servers/watchdog/offences.ts'
import { ManualClock } from '../../access/helpers.ts'

function setUp() {
  const clock = new ManualClock()
  return { clock, offences: new Offences({ clock, count: 3, withinMs: 1_000 }) }
}

t.test('the last of so many within the time is one too many, and the count begins again', async (t) => {
  const { offences } = setUp()
  t.strictSame(
    [1, 2, 3, 4, 5, 6].map(() => [offences.add('eve'), offences.count('eve')]),
    [
      [false, 1],
      [false, 2],
      [true, 0],
      [false, 1],
      [false, 2],
      [true, 0],
    ],
  )
})

t.test('each login has a count of its own', async (t) => {
  const { offences } = setUp()
  t.strictSame(
    ['eve', 'bob', 'eve', 'bob', 'ada'].map((login) => offences.add(login)),
    [false, false, false, false, false],
  )
  t.equal(offences.add('eve'), true)
  t.strictSame(
    ['ada', 'bob', 'eve', 'unknown'].map((login) => offences.count(login)),
    [1, 2, 0, 0],
  )
})

t.test('one that is as old as the time does not count any more', async (t) => {
  const { clock, offences } = setUp()
  offences.add('eve')
  clock.advance(1)
  offences.add('eve')
  clock.advance(999)
  t.equal(offences.add('eve'), false, 'the first is forgotten')
  t.equal(offences.count('eve'), 2)
  t.equal(offences.add('eve'), true)
})
