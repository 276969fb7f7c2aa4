import t from 'tap'
import { afterClashes } from '../../src/placement/after-clashes.ts'
import { inBatches } from '../../src/placement/batches.ts'
import { rejectsLike } from '../support/like.ts'

const sqlError = (code: string) => Object.assign(new Error(`refused (${code})`), { code })

/** Removes `count` things where the server has room for so many at once, and notes each try. */
async function removed(count: number, room: number, largest: number) {
  const sizes: number[] = []
  let left = count
  await inBatches(largest, async (size) => {
    sizes.push(size)
    const now = Math.min(size, left)
    if (now > room) throw sqlError('53200')
    left -= now
    return now > 0
  })
  return { left, sizes }
}

t.test('batches go on until nothing is left', async (t) => {
  t.strictSame(await removed(25, 100, 10), { left: 0, sizes: [10, 10, 10, 10] })
  t.strictSame(await removed(0, 100, 10), { left: 0, sizes: [10] })
})

t.test('a batch that finds no room becomes smaller, and then larger again', async (t) => {
  t.strictSame(await removed(10, 3, 16), { left: 0, sizes: [16, 4, 1, 2, 4, 1, 2, 4, 1, 2, 4, 8] })
})

t.test('a single one that finds no room is the end', async (t) => {
  const sizes: number[] = []
  const work = inBatches(5, async (size) => {
    sizes.push(size)
    throw sqlError('53200')
  })
  await rejectsLike(t, work, { code: '53200' })
  t.strictSame(sizes, [5, 2, 1])
})

t.test('what else fails is thrown at once', async (t) => {
  let runs = 0
  const work = inBatches(5, async () => {
    runs += 1
    throw sqlError('42501')
  })
  await rejectsLike(t, work, { code: '42501' })
  t.equal(runs, 1)
})

t.test('what clashed is done again, five times at most', async (t) => {
  const runsOf = async (code: string, times: number) => {
    let runs = 0
    const work = afterClashes(async () => {
      runs += 1
      if (runs <= times) throw sqlError(code)
    })
    const outcome = await work.then(
      () => 'done',
      (error: { code?: string }) => error.code,
    )
    return [runs, outcome]
  }
  for (const code of [
    '23505',
    '40001',
    '40P01',
    '42704',
    '42710',
    '42P04',
    '42P06',
    '42P07',
    '53200',
    'XX000',
  ]) {
    t.strictSame(await runsOf(code, 4), [5, 'done'], code)
    t.strictSame(await runsOf(code, 5), [5, code], code)
  }
  for (const code of ['42501', '55P03', '2BP01']) t.strictSame(await runsOf(code, 1), [1, code], code)
})
