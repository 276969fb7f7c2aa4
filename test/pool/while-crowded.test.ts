import t from 'tap'
import { whileCrowded } from '../../src/pool/while-crowded.ts'
import { rejectsLike } from '../support/like.ts'

const refusal = (fields: Readonly<Record<string, unknown>>) => Object.assign(new Error('no'), fields)
const FULL = refusal({ code: '53300', routine: 'InitProcess' })
const OF_ROLE = refusal({ code: '53300', routine: 'InitializeSessionUserId' })

/** failing fails so often, calls `onTry` each time, and then resolves with how often it was run. */
function failing(times: number, error: Error, onTry: () => void = () => {}) {
  let runs = 0
  return {
    runs: () => runs,
    open: async () => {
      runs += 1
      onTry()
      if (runs <= times) throw error
      return runs
    },
  }
}

t.test('what a full server refuses is tried again', async (t) => {
  t.equal(await whileCrowded(failing(3, FULL).open), 4)
})

t.test('any other refusal is not', async (t) => {
  for (const error of [OF_ROLE, refusal({ code: '28P01' }), refusal({ code: 'ECONNREFUSED' })]) {
    const opening = failing(1, error)
    await rejectsLike(t, whileCrowded(opening.open), error)
    t.equal(opening.runs(), 1)
  }
})

t.test('who has given up is not kept', async (t) => {
  const gone = new AbortController()
  const opening = failing(10, FULL, () => {
    if (opening.runs() === 2) gone.abort(new Error('the caller went'))
  })
  await rejectsLike(t, whileCrowded(opening.open, gone.signal), { message: 'the caller went' })
  t.equal(opening.runs(), 2)
})

t.test('a server that stays full has refused in the end', async (t) => {
  let now = 0
  t.intercept(performance, 'now', { value: () => now })
  const opening = failing(100, FULL, () => {
    now += 2_000
  })
  await rejectsLike(t, whileCrowded(opening.open), FULL)
  t.equal(opening.runs(), 3, 'within five seconds')
})
