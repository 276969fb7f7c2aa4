import t from 'tap'
import { Ages, type SeenSession } from '../../../src/servers/watchdog/ages.ts'
import { ManualClock } from '../../access/helpers.ts'

function setUp() {
  const clock = new ManualClock()
  const ages = new Ages(clock)
  const agesOf = (...sessions: readonly SeenSession[]) =>
    ages.fill(sessions).map(({ transactionMs }) => transactionMs)
  return { clock, ages, agesOf }
}

function seen(fields: Partial<SeenSession> = {}): SeenSession {
  return {
    pid: 1,
    startedAt: '',
    login: 'eve',
    isIdle: false,
    transactionMs: null,
    quietMs: null,
    locks: 0,
    predicateLocks: 0,
    transaction: '4/7',
    ...fields,
  }
}

t.test('a transaction whose age is not shown is as old as it has been seen', async (t) => {
  const { agesOf, clock } = setUp()
  t.strictSame(agesOf(seen()), [0])
  clock.advance(1_000)
  t.strictSame(agesOf(seen({ pid: 2, transaction: '5/1' }), seen()), [0, 1_000])
  clock.advance(500)
  t.strictSame(agesOf(seen({ pid: 2, transaction: '5/1' }), seen()), [500, 1_500])
})

t.test('each transaction has its own age, be it of the same session or number of a process', async (t) => {
  const { agesOf, clock } = setUp()
  agesOf(seen())
  clock.advance(1_000)
  t.strictSame(agesOf(seen({ transaction: '4/8' })), [0], 'the next transaction of a session')
  clock.advance(1_000)
  t.strictSame(
    agesOf(seen({ transaction: '4/8', startedAt: 'later' })),
    [0],
    'a session that has got the number of another one',
  )
  clock.advance(1_000)
  t.strictSame(agesOf(), [])
  t.strictSame(agesOf(seen({ transaction: '4/8', startedAt: 'later' })), [0], 'what was gone is forgotten')
})

t.test('what the server shows stays, and who has no transaction has no age', async (t) => {
  const { agesOf, clock } = setUp()
  const sessions = [seen({ pid: 2, transactionMs: 7 }), seen({ pid: 3, transaction: null })]
  t.strictSame(agesOf(...sessions), [7, null])
  clock.advance(1_000)
  t.strictSame(agesOf(...sessions), [7, null])
})

t.test('the queue is as old as the time since it was last seen empty', async (t) => {
  const { ages, clock } = setUp()
  t.equal(ages.queue({ notifyUsage: 0 }), 0)
  clock.advance(1_000)
  t.equal(ages.queue({ notifyUsage: 0.01 }), 0)
  clock.advance(1_000)
  t.equal(ages.queue({ notifyUsage: 0.5 }), 1_000)
  clock.advance(1_000)
  t.equal(ages.queue({ notifyUsage: 0 }), 0)
  clock.advance(1_000)
  t.equal(ages.queue({ notifyUsage: 0.5 }), 0)
})
