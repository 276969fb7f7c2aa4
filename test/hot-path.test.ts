import t from 'tap'
import { sql } from '../src/pool/statement.ts'
import { testApp } from './support/app.ts'

t.test('a warm request asks the control database nothing and costs its tenant one statement', async (t) => {
  // What a node does from time to time would be counted as well.
  const { onboard, lessor } = await testApp(t, { CHANGE_POLL_MS: '600000', NODE_LEASE_SECONDS: '3600' })
  const tenant = await onboard()
  const list = () => tenant.inject({ url: '/v1/users?page_size=10' })
  t.equal((await list()).statusCode, 200)

  // Whatever the control database runs goes through these two.
  const control: string[] = []
  const { query, transaction } = lessor.control
  lessor.control.query = (statement) => {
    control.push(statement.strings.join('?'))
    return query.call(lessor.control, statement) as never
  }
  lessor.control.transaction = (fn) => {
    control.push('a transaction')
    return transaction.call(lessor.control, fn) as never
  }
  const pid = () =>
    lessor.pools.use({ tenantId: tenant.id, generation: 1 }, new AbortController(), (db) =>
      db.query<{ pid: number }>(sql`select pg_backend_pid() as pid`),
    )
  const [before] = await pid()
  const { hits, connectionsOpened } = lessor.pools.counters()
  for (let i = 0; i < 20; i++) t.equal((await list()).statusCode, 200)
  const after = lessor.pools.counters()
  t.strictSame(control, [])
  t.equal(after.hits - hits, 20)
  t.equal(after.connectionsOpened, connectionsOpened)
  const [last] = await pid()
  t.equal(last?.pid, before?.pid, 'all on the same connection')
})
