import { getEventListeners } from 'node:events'
import t from 'tap'
import { Pauses } from '../../src/pool/pauses.ts'
import { FakeClock, settle } from './fake-driver.ts'

function setUp(limit = 10) {
  const clock = new FakeClock()
  const pauses = new Pauses(clock, limit)
  const ends: string[] = []
  const wait = (
    name: string,
    ms: number,
    owners: readonly [object, object] = [{}, {}],
    caller = new AbortController(),
  ) => {
    void pauses.wait(ms, caller, { cause: new Error('refused'), owners }).then(
      () => ends.push(name),
      (error: { code?: string; message: string }) => ends.push(`${name}: ${error.code ?? error.message}`),
    )
    return caller
  }
  const move = async (ms: number) => {
    clock.time += ms
    pauses.tick()
    await settle()
    return ends.splice(0)
  }
  return { pauses, wait, move }
}

t.test('each ends at its time', async (t) => {
  const { move, pauses, wait } = setUp()
  t.equal(pauses.isEmpty, true)
  wait('later', 100)
  wait('soon', 50)
  t.equal(pauses.isEmpty, false)
  t.strictSame(await move(49), [])
  t.strictSame(await move(1), ['soon'])
  t.strictSame(await move(49), [])
  t.strictSame(await move(1), ['later'])
  t.equal(pauses.isEmpty, true)
})

t.test('a caller who goes ends the own pause, before it begins or while it lasts', async (t) => {
  const { move, pauses, wait } = setUp()
  const gone = new AbortController()
  gone.abort()
  wait('gone', 50, undefined, gone)
  wait('going', 50).abort()
  wait('stays', 50)
  t.strictSame(await move(0), ['gone: CLIENT_CLOSED_REQUEST', 'going: CLIENT_CLOSED_REQUEST'])
  t.strictSame(await move(50), ['stays'])
  t.equal(pauses.isEmpty, true)
})

t.test('an owner’s end ends the own pauses and no others', async (t) => {
  const { move, pauses, wait } = setUp()
  const [pool, member, other] = [{}, {}, {}]
  wait('one', 50, [pool, member])
  wait('two', 50, [pool, other])
  wait('three', 50, [{}, {}])
  t.equal(pauses.refuse(member, new Error('the tenant is gone')), 1)
  t.strictSame(await move(0), ['one: the tenant is gone'])
  t.equal(pauses.refuse(pool, new Error('the pool is gone')), 1)
  t.strictSame(await move(0), ['two: the pool is gone'])
  t.equal(pauses.refuse(pool, new Error('again')), 0)
  t.strictSame(await move(50), ['three'])
})

t.test('a pause that is over listens to no caller any more', async (t) => {
  const { move, pauses, wait } = setUp()
  const owner = {}
  const [first, second] = [wait('first', 50), wait('second', 100, [owner, {}])]
  const listeners = () => [first, second].map(({ signal }) => getEventListeners(signal, 'abort').length)
  t.strictSame(listeners(), [1, 1])
  await move(50)
  t.strictSame(listeners(), [0, 1])
  pauses.refuse(owner, new Error('gone'))
  t.strictSame(listeners(), [0, 0])
})
