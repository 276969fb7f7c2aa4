import t from 'tap'
import { BlockerAges } from '../../src/servers/clearing-ages.ts'
import { ManualClock } from '../access/helpers.ts'

function setUp() {
  const clock = new ManualClock()
  const ages = new BlockerAges(clock)
  const of = (role: string, ageMs: number | null = null, pid = 7) => ages.of({ pid, role, ageMs })
  return { clock, of }
}

t.test('the age of a transaction counts where it is shown', async (t) => {
  const { clock, of } = setUp()
  t.equal(of('tb_a', 1_234), 1_234)
  clock.advance(1_000)
  t.equal(of('tb_a', 5), 5, 'it is another transaction by now')
})

t.test('where it is not shown, the time counts since when the session is in the way', async (t) => {
  const { clock, of } = setUp()
  t.equal(of('tb_a'), 0)
  for (let seconds = 1; seconds <= 20; seconds++) {
    clock.advance(1_000)
    t.equal(of('tb_a'), seconds * 1_000)
  }
})

t.test(
  'who is in the way again within five seconds was so all the time; later it begins again',
  async (t) => {
    const { clock, of } = setUp()
    of('tb_a')
    clock.advance(5_000)
    t.equal(of('tb_a'), 5_000)
    clock.advance(5_001)
    t.equal(of('tb_a'), 0)
  },
)

t.test('a process whose number another login had before is another one', async (t) => {
  const { clock, of } = setUp()
  of('tb_a')
  clock.advance(3_000)
  t.equal(of('tb_b'), 0)
  t.equal(of('tb_a', null, 8), 0)
  t.equal(of('tb_a'), 3_000)
})
