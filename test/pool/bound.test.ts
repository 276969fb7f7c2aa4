import t from 'tap'
import { BoundRun } from '../../src/pool/bound.ts'
import type { Rows } from '../../src/pool/contract.ts'
import type { DriverQuery } from '../../src/pool/driver-query.ts'

const A = '0f0e0d0c-0b0a-4908-8706-050403020100'
const TEXT = { strings: ['select 1'], args: [], options: {}, tagged: true }

/** What the driver does with a query, besides. */
interface Handed extends DriverQuery {
  /** Written by the driver when it is about to send it again. */
  retried?: Error
}

function answer(command: string): Rows {
  return Object.assign([], { command })
}

/** send binds a statement whose connection does nothing by itself. */
function send() {
  const handed: Handed[] = []
  const cancelled: DriverQuery[] = []
  const run = new BoundRun(
    {
      send: (query) => handed.push(query),
      cancel: async (query) => {
        cancelled.push(query)
      },
    },
    TEXT,
    A,
  )
  /** The next three that were handed over. */
  function next() {
    const [begin, statement, commit] = handed.splice(0, 3)
    if (begin === undefined || statement === undefined || commit === undefined)
      throw new Error('not handed over')
    return { begin, statement, commit }
  }
  return { ...next(), run, result: run.result, others: handed, next, cancelled }
}

t.test('a statement is handed over at once, between its BEGIN and its COMMIT', async (t) => {
  const { begin, statement, commit, others, result } = send()
  t.strictSame(begin.strings, [`begin; set local rls.tenant_id = '${A}'`])
  t.strictSame(commit.strings, ['commit'])
  t.strictSame(others, [])
  const rows = answer('SELECT')
  for (const each of [begin, statement, commit]) each.active = true
  begin.resolve(answer('SET'))
  statement.resolve(rows)
  commit.resolve(answer('COMMIT'))
  t.equal(await result, rows)
  t.notOk(begin.active || statement.active || commit.active, 'a cancel request would hit whoever is next')
})

t.test('there is no result before the server has confirmed the commit', async (t) => {
  const { begin, statement, commit, result } = send()
  let isThere = false
  const seen = result.then(() => {
    isThere = true
  })
  begin.resolve(answer('SET'))
  statement.resolve(answer('INSERT'))
  await new Promise(setImmediate)
  t.notOk(isThere)
  commit.resolve(answer('COMMIT'))
  await seen
  t.ok(isThere)
})

t.test('the first of the three that failed says why', async (t) => {
  const { begin, statement, commit, result } = send()
  begin.active = true
  begin.reject(new Error('no binding'))
  t.notOk(begin.active)
  statement.reject(new Error('the transaction is aborted'))
  commit.reject(new Error('lost'))
  await t.rejects(result, { message: 'no binding' })
})

t.test('a failed commit is the failure of its statement', async (t) => {
  const { begin, statement, commit, result } = send()
  begin.resolve(answer('SET'))
  statement.resolve(answer('INSERT'))
  commit.reject(new Error('a deferred constraint'))
  await t.rejects(result, { message: 'a deferred constraint' })
})

t.test('a rollback that nothing explains is never a success', async (t) => {
  const { begin, statement, commit, result } = send()
  begin.resolve(answer('SET'))
  statement.resolve(answer('INSERT'))
  commit.resolve(answer('ROLLBACK'))
  await t.rejects(result, { message: /rolled back/ })
})

/** What the driver does with a statement whose prepared plan is stale. */
function isStale(statement: Handed): void {
  statement.retried = new Error('cached plan must not change result type')
}

t.test('a statement that the driver would send again, unbound, is sent again as a whole', async (t) => {
  const { begin, statement, commit, result, next, others } = send()
  begin.resolve(answer('SET'))
  isStale(statement)
  t.ok(statement.cancelled, 'the driver sends none that is cancelled')
  t.strictSame(others, [], 'not before the first one is over')
  commit.resolve(answer('ROLLBACK'))
  const second = next()
  t.not(second.statement, statement)
  t.strictSame(second.begin.strings, begin.strings)
  const rows = answer('SELECT')
  second.begin.resolve(answer('SET'))
  second.statement.resolve(rows)
  second.commit.resolve(answer('COMMIT'))
  t.equal(await result, rows)
})

t.test('a cancel request means the statement, the second one once it is sent again', async (t) => {
  const { run, begin, statement, commit, next, cancelled } = send()
  await run.cancel()
  t.strictSame(cancelled, [statement])
  begin.resolve(answer('SET'))
  isStale(statement)
  commit.resolve(answer('ROLLBACK'))
  const second = next()
  await run.cancel()
  t.equal(cancelled[1], second.statement)
})

t.test('it is sent again once', async (t) => {
  const { begin, statement, commit, result, next } = send()
  begin.resolve(answer('SET'))
  isStale(statement)
  commit.resolve(answer('ROLLBACK'))
  const second = next()
  second.begin.resolve(answer('SET'))
  isStale(second.statement)
  second.commit.resolve(answer('ROLLBACK'))
  await t.rejects(result, { message: 'cached plan must not change result type' })
})
