import fc from 'fast-check'
import t from 'tap'
import { newCounters } from '../../src/pool/counters.ts'
import { Line } from '../../src/pool/line.ts'
import { Member as MemberOf } from '../../src/pool/member.ts'
import type { Member, Slot } from '../../src/pool/slot.ts'
import { WaitingRoom, WaitQueue } from '../../src/pool/waiting-room.ts'
import { FakeClock } from './fake-driver.ts'

/** A line in which members with these weights may stand. */
function setUp(weights: readonly number[]) {
  const line = new Line()
  const room = new WaitingRoom(new FakeClock(), Number.MAX_SAFE_INTEGER, newCounters())
  const members: readonly Member[] = weights.map(
    (weight) =>
      new MemberOf<Slot>({ queue: new WaitQueue(room, weight, line.tally), maxConnections: 1, weight }),
  )
  const add = (member: Member) =>
    line.add(member, { kind: 'transaction', serve() {} }, undefined, 60_000, () => {})
  return { line, members, add }
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
  fc.assert(
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
