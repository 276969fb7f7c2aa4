import t from 'tap'
import { Pauses } from '../../src/pool/pauses.ts'
import { FakeClock } from './fake-driver.ts'

t.test('a tenant whose statements pause by the hundred takes the room of no other', async (t) => {
  const pauses = new Pauses(new FakeClock(), 4)
  const pool = {}
  const outcomes: string[] = []
  const wait = (name: string, member: object) =>
    pauses.wait(50, undefined, { owners: [pool, member], cause: new Error(`refused ${name}`) }).then(
      () => outcomes.push(`again ${name}`),
      (error: Error) => outcomes.push(error.message),
    )
  const [mean, good] = [{}, {}]
  const all = ['a', 'b', 'c', 'd', 'e'].map((name) => wait(name, mean))
  await all.pop()
  t.strictSame(outcomes, ['refused e'])
  const good1 = wait('good 1', good)
  await all.pop()
  t.strictSame(outcomes, ['refused e', 'refused d'])
  // Three and one: another of the same would be as many as the other has then.
  const good2 = wait('good 2', good)
  await all.pop()
  await wait('good 3', good)
  t.strictSame(outcomes, ['refused e', 'refused d', 'refused c', 'refused good 3'])
  t.equal(pauses.refuse(pool, new Error('over')), 4)
  await Promise.all([...all, good1, good2])
  t.ok(pauses.isEmpty)
})
