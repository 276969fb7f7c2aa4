import t from 'tap'
import { LessorError } from '../../../src/errors.ts'
import type { Rows } from '../../../src/pool/contract.ts'
import {
  DriverQuery,
  type QueryOptions,
  type QueryText,
  type Receiver,
} from '../../../src/pool/driver/query.ts'
import { type Line, makeRun, type StatementRun } from '../../../src/pool/driver/runs.ts'

const TENANT = '0f0e0d0c-0b0a-4908-8706-050403020100'
const STATEMENT = { text: 'select $1', values: ['x'], isPlanned: true }
const IDLE = { before: 'I', after: 'I' } as const
const OPEN = { before: 'T', after: 'T' } as const

interface Sent {
  readonly text: QueryText
  readonly receiver: Receiver
  readonly options: QueryOptions
}

/** A connection on which nothing goes out: the test answers what is sent. */
function setUp(scope: 'own' | 'inside' | { readonly binding: string }) {
  const sent: Sent[] = []
  const again: StatementRun[] = []
  let spent = 0
  const line: Line = {
    maxResultBytes: 1_000_000,
    prepares: () => true,
    forget() {},
    spend: () => {
      spent += 1
    },
    send(text, receiver, options) {
      sent.push({ text, receiver, options })
      return new DriverQuery(text, { settled() {} }, receiver, options)
    },
    sendAgain: (run) => again.push(run),
    cancel: async () => {},
    refusalOf: () => undefined,
  }
  const run = makeRun(line, { statement: STATEMENT, hints: [0], scope })
  const outcomes: unknown[] = []
  run.result.then(
    (rows) => outcomes.push([...rows]),
    (error: unknown) => outcomes.push(error instanceof LessorError ? error.code : (error as Error).message),
  )
  /** What was sent since the last call. */
  const taken = () => sent.splice(0)
  const outcome = async () => {
    await new Promise(setImmediate)
    return outcomes
  }
  return { run, again, taken, outcome, spent: () => spent }
}

const rows = (...all: readonly object[]): Rows => Object.assign([...all], { command: 'SELECT' })
const STALE = new Error('cached plan must not change result type')

t.test('a statement whose plan went stale is sent once more, unprepared, and not a third time', async (t) => {
  const { run, again, taken, outcome } = setUp('own')
  run.types = [25]
  run.send(['x'])
  const [first] = taken()
  t.strictSame([first?.text.form, first?.options.expected], ['prepared', 'I'])
  first?.receiver.stale(STALE)
  t.strictSame(again.length, 1)
  t.equal(run.types, undefined, 'its parameters are described again')
  t.equal(run.query, undefined, 'a cancel request would mean another one')
  run.send(['x'])
  const [second] = taken()
  t.equal(second?.text.form, 'once')
  second?.receiver.stale(STALE)
  t.strictSame(await outcome(), ['SCHEMA_CHANGED'])
  t.equal(again.length, 1)
})

t.test('within a transaction it is not sent again', async (t) => {
  const { run, again, taken, outcome } = setUp('inside')
  run.send(['x'])
  const [only] = taken()
  t.equal(only?.options.expected, 'TE')
  only?.receiver.stale(STALE)
  t.strictSame([again, await outcome()], [[], ['SCHEMA_CHANGED']])
})

t.test(
  'a statement that is bound stands between its BEGIN and its COMMIT, which ends the transaction',
  async (t) => {
    const { run, taken, outcome } = setUp({ binding: TENANT })
    run.send(['x'])
    const [begin, statement, commit, ...more] = taken()
    t.strictSame(more, [])
    t.match(begin?.text.text, new RegExp(`^begin; .*; set local rls.tenant_id = '${TENANT}'$`))
    t.strictSame([statement?.text.text, statement?.text.form], ['select $1', 'prepared'])
    t.equal(commit?.text.text, 'commit; reset all')
    t.strictSame(commit?.options.expected, 'I', 'where it does not end the transaction, the connection ends')
    begin?.receiver.answered(rows(), { before: 'I', after: 'T' })
    statement?.receiver.answered(rows({ a: 1 }), OPEN)
    t.strictSame(await outcome(), [], 'not before the COMMIT is answered')
    commit?.receiver.answered(rows(), IDLE)
    t.strictSame(await outcome(), [[{ a: 1 }]])
  },
)

t.test('rows that were read outside of the transaction that binds them are given to none', async (t) => {
  const { run, taken, outcome } = setUp({ binding: TENANT })
  run.send(['x'])
  const [begin, statement, commit] = taken()
  begin?.receiver.answered(rows(), IDLE)
  statement?.receiver.answered(rows({ a: 'of another tenant' }), IDLE)
  commit?.receiver.answered(rows(), IDLE)
  t.strictSame(await outcome(), ['bug: a statement ran outside of the transaction that binds it'])
})

t.test('of three that failed the first says why, and a failed BEGIN is no stale plan', async (t) => {
  const { run, again, taken, outcome } = setUp({ binding: TENANT })
  run.send(['x'])
  const [begin, statement, commit] = taken()
  begin?.receiver.failed(new Error('no BEGIN'))
  statement?.receiver.stale(STALE)
  commit?.receiver.answered(rows(), IDLE)
  t.strictSame([again, await outcome()], [[], ['no BEGIN']])
})

t.test('a bound statement whose plan went stale begins again when its transaction has ended', async (t) => {
  const { run, again, taken, outcome } = setUp({ binding: TENANT })
  run.send(['x'])
  const [begin, statement, commit] = taken()
  begin?.receiver.answered(rows(), { before: 'I', after: 'T' })
  statement?.receiver.stale(STALE)
  t.equal(again.length, 0)
  commit?.receiver.answered(rows(), IDLE)
  t.equal(again.length, 1)
  run.send(['x'])
  const [, second, end] = taken()
  t.equal(second?.text.form, 'once')
  second?.receiver.answered(rows({ a: 2 }), OPEN)
  end?.receiver.answered(rows(), IDLE)
  t.strictSame(await outcome(), [[{ a: 2 }]], 'what failed the first time is forgotten')
})

for (const [code, expected] of [
  ['23503', 0],
  ['40001', 0],
  ['57014', 1],
] as const) {
  t.test(
    `a COMMIT that fails with ${code} is what its statement fails with, and what is left decides`,
    async (t) => {
      const { run, taken, outcome, spent } = setUp({ binding: TENANT })
      run.send(['x'])
      const [begin, statement, commit] = taken()
      begin?.receiver.answered(rows(), { before: 'I', after: 'T' })
      statement?.receiver.answered(rows({ a: 1 }), OPEN)
      commit?.receiver.failed(Object.assign(new Error('refused'), { code }))
      t.strictSame([await outcome(), spent()], [['refused'], expected])
    },
  )
}

t.test(
  'a connection on which a BEGIN itself failed takes nothing more, for its statement was in no transaction',
  async (t) => {
    for (const [after, expected] of [
      ['I', 1],
      ['E', 0],
    ] as const) {
      const { run, taken, outcome, spent } = setUp({ binding: TENANT })
      run.send(['x'])
      const [begin, statement, commit] = taken()
      begin?.receiver.failed(new Error('cancelled'), { before: 'I', after })
      statement?.receiver.failed(new Error('refused'), { before: after, after })
      commit?.receiver.answered(rows(), { before: after, after: 'I' })
      t.strictSame([await outcome(), spent()], [['cancelled'], expected])
    }
  },
)

t.test('a stale plan whose connection is lost before the COMMIT is answered is told as a loss', async (t) => {
  const { run, again, taken, outcome } = setUp({ binding: TENANT })
  run.send(['x'])
  const [begin, statement, commit] = taken()
  begin?.receiver.answered(rows(), { before: 'I', after: 'T' })
  statement?.receiver.stale(STALE)
  commit?.receiver.failed(new Error('lost'))
  t.strictSame([again, await outcome()], [[], ['lost']])
})
