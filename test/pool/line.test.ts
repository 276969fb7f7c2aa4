import fc from 'fast-check'
import t from 'tap'
import { newCounters } from '../../src/pool/counters.ts'
import { Line } from '../../src/pool/line.ts'
import { Member as MemberOf } from '../../src/pool/member.ts'
import type { Member, Slot } from '../../src/pool/slot.ts'
import { WaitingRoom, WaitQueue } from '../../src/pool/waiting-room.ts'
import { holds } from '../support/holds.ts'
import { FakeClock } from './fake-driver.ts'

/** A line in which members with these weights may stand, each with so many connections at most. */
function setUp(weights: readonly number[], maxConnections = 1) {
  const line = new Line()
  const room = new WaitingRoom(new FakeClock(), Number.MAX_SAFE_INTEGER, newCounters())
  const members: readonly Member[] = weights.map(
    (weight) =>
      new MemberOf<Slot>({ queue: new WaitQueue(room, weight, line.tally), maxConnections, weight }),
  )
  const refused: Error[] = []
  const add = (member: Member) =>
    line.add(member, { kind: 'transaction', serve() {} }, undefined, 60_000, (error) => refused.push(error))
  return { line, members, add, refused }
}

/** How often each member is served within so many turns, while all of them always want more. */
function turns(weights: readonly number[], count: number, ms = 0): readonly number[] {
  const { line, members, add } = setUp(weights)
  const served = new Map(members.map((member) => [member, 0]))
  for (const member of members) add(member)
  for (let turn = 0; turn < count; turn++) {
    const next = line.next(() => true)
    if (next === undefined) throw new Error('callers wait, and none is served')
    line.shift(next)
    line.took(next, ms)
    served.set(next, (served.get(next) ?? 0) + 1)
    add(next)
  }
  return [...served.values()]
}

t.test('members that always want more are served equally often, however many there are', async (t) => {
  for (let count = 1; count <= 33; count++) {
    const each = 3_000
    t.strictSame(turns(Array(count).fill(1), count * each), Array(count).fill(each), `${count} members`)
  }
})

t.test('among many members as well each is served by its weight', async (t) => {
  const weights = [1, 2, 4, 1, 2, 4, 8, 2]
  const sum = weights.reduce((all, weight) => all + weight, 0)
  for (const ms of [0, 10]) {
    const served = turns(weights, sum * 100, ms)
    const off = weights.map((weight, i) => Math.abs((served[i] ?? 0) - weight * 100))
    t.strictSame(
      off.map((turns) => turns <= 2),
      weights.map(() => true),
      `served ${served} for ${weights}, by work of ${ms} ms`,
    )
  }
})

/** One thing that happens to a member; the numbers are taken modulo what there is. */
const action = fc.oneof(
  fc.record({ do: fc.constant('add' as const), member: fc.nat() }),
  fc.record({ do: fc.constant('serve' as const), barred: fc.array(fc.nat(), { maxLength: 3 }) }),
  fc.record({ do: fc.constant('took' as const), member: fc.nat(), ms: fc.nat(400) }),
)

t.test('who is served next has the least virtual time of all who wait and may be served', async (t) => {
  let choices = 0
  await holds(
    t,
    fc.property(
      fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 3, maxLength: 40 }),
      fc.array(action, { minLength: 100, maxLength: 600 }),
      (weights, actions) => {
        const { line, members, add } = setUp(weights)
        const at = (index: number) => members[index % members.length] as Member
        for (const each of actions) {
          if (each.do === 'add') add(at(each.member))
          else if (each.do === 'took') line.took(at(each.member), each.ms)
          else {
            const barred = new Set(each.barred.map(at))
            const able = members.filter((member) => member.queue.size > 0 && !barred.has(member))
            const least = Math.min(...able.map(({ pass }) => pass))
            const next = line.next((member) => !barred.has(member))
            if (next === undefined) {
              if (able.length > 0) throw new Error(`${able.length} could be served, and none is`)
              continue
            }
            if (!able.includes(next)) throw new Error('served though it may not be, or does not wait')
            if (next.pass !== least) throw new Error(`served at ${next.pass} before one at ${least}`)
            line.shift(next)
            choices += 1
          }
        }
        const waiting = members.reduce((sum, { queue }) => sum + queue.size, 0)
        if (line.size !== waiting)
          throw new Error(`${line.size} wait by the line, and ${waiting} by the queues`)
      },
    ),
  )
  t.equal(choices > 1_000, true, `${choices} choices`)
})

/** A line with two members, of which the first has the given weight and has been served once. */
function served(weight: number) {
  const { line, members, add } = setUp([weight, 1])
  const [member, other] = members as readonly [Member, Member]
  add(member)
  line.shift(member)
  return { line, member, other }
}

t.test('a unit of work counts by the time that the server worked, for each unit of weight', async (t) => {
  for (const weight of [1, 4]) {
    const { line, member } = served(weight)
    t.equal(member.pass, 1 / weight, 'when it begins')
    line.took(member, 11)
    t.equal(member.pass, 11 / weight, 'when it has ended')
    for (const ms of [0, 0.5, 1]) line.took(member, ms)
    t.equal(member.pass, 11 / weight, 'what counted at its beginning does not count again')
  }
})

t.test('a member owes no more than 250 ms for its weight, from what was served last', async (t) => {
  const { line, member, other } = served(4)
  for (const ms of [10_000, 10_000]) line.took(member, ms)
  t.equal(member.pass, 250 / 4)
  line.served(member)
  t.equal(member.pass, 250 / 4 + 1 / 4)
  line.took(member, 10_000)
  t.equal(member.pass, 250 / 4 + 250 / 4)
  line.served(other)
  t.equal(other.pass, 250 / 4 + 1, 'one that comes late goes on from the time of the others')
})

t.test('the waiter that came first is taken out, and where none waits nothing counts', async (t) => {
  const { line, members } = setUp([1])
  const [member] = members as readonly [Member]
  const taken: string[] = []
  for (const name of ['first', 'second'])
    line.add(member, { kind: 'open', serve: () => taken.push(name) }, undefined, 60_000, () => {})
  for (let i = 0; i < 2; i++) line.shift(member)?.want.serve({} as Slot)
  t.strictSame([taken, member.pass, line.size], [['first', 'second'], 2, 0])
  t.equal(line.shift(member), undefined)
  t.equal(member.pass, 2)
})

t.test(
  'a member is forgotten when none of its callers waits, and stands in line again with the next',
  async (t) => {
    const { line, members, add } = setUp([1, 1])
    const [member] = members as readonly [Member]
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 2; i++) add(member)
      t.equal(line.members, 1)
      for (let i = 0; i < 2; i++) line.shift(member)
      t.equal(
        line.next(() => true),
        undefined,
      )
      t.equal(line.members, 0)
    }
    add(member)
    t.equal(
      line.next(() => false),
      undefined,
      'it may not be served now',
    )
    t.equal(
      line.next(() => true),
      member,
      'it has kept its place',
    )
  },
)

t.test('demand is what the waiting callers can use, up to what is enough', async (t) => {
  const { line, members, add } = setUp([1, 1, 1], 3)
  t.equal(line.demand(9), 0)
  for (const [i, count] of [1, 2, 5].entries())
    for (let waiting = 0; waiting < count; waiting++) add(members[i] as Member)
  for (const [enough, demand] of [
    [0, 0],
    [1, 1],
    [2, 2],
    [5, 5],
    [6, 6],
    [9, 6],
  ] as const)
    t.equal(line.demand(enough), demand, `of ${enough}`)
})

t.test('all who wait can be refused, whichever member they belong to', async (t) => {
  const { line, members, add, refused } = setUp([1, 2])
  for (const member of [...members, ...members]) add(member)
  const error = new Error('the pool has ended')
  line.refuseAll(error)
  t.strictSame([refused.length, new Set(refused), line.size], [4, new Set([error]), 0])
})
