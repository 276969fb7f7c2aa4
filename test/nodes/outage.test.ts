import t from 'tap'
import { insertChange } from '../../src/control/change-store.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { LessorError } from '../../src/errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { until } from '../control/helpers.ts'
import { testApp } from '../support/app.ts'

t.test(
  'resident tenants are served while the control database is away, and not a moment longer',
  async (t) => {
    const { databaseUrl, lessor, logged, onboard } = await testApp(t, {
      TENANT_CACHE_SECONDS: '1',
      API_KEY_CACHE_SECONDS: '1',
      CHANGE_POLL_MS: '50',
      NODE_LEASE_SECONDS: '6',
    })
    const [tenant, stranger] = [await onboard(), await onboard()]
    const list = async () => (await tenant.inject({ url: '/v1/users' })).statusCode
    t.equal(await list(), 200)

    const away = () => Promise.reject(new LessorError('CONTROL_UNAVAILABLE'))
    const { query, transaction } = lessor.control
    let tries = 0
    lessor.control.query = () => {
      tries += 1
      return away()
    }
    lessor.control.transaction = away
    const isSilent = () =>
      logged().some(({ msg }) => String(msg).startsWith('the lease of this node has run out'))
    await until(isSilent, 'the lease, and with it the second that all is remembered, is over')
    for (let i = 0; i < 20; i++) t.equal(await list(), 200)
    const answer = await stranger.inject({ url: '/v1/users' })
    t.equal(answer.statusCode, 503)
    t.equal(answer.json().code, 'CONTROL_UNAVAILABLE')
    t.ok(tries > 0)

    // Another node, which reaches it.
    const other = new ControlDatabase({ url: databaseUrl, maxConnections: 1 })
    t.teardown(() => other.close())
    await other.transaction(async (tx) => {
      await tx.query(sql`
      update lessor.tenants set status = 'suspended', generation = generation + 1 where id = ${tenant.id}`)
      await insertChange(tx, { kind: 'status', tenantId: tenant.id })
    })
    t.equal(await list(), 200, 'nothing can be known of that')
    Object.assign(lessor.control, { query, transaction })
    await until(() => !lessor.outage.servesKnown(), 'the outage is over')
    t.equal(await list(), 403)
    t.equal(lessor.pools.snapshot(tenant.id), undefined)
    t.equal((await stranger.inject({ url: '/v1/users' })).statusCode, 200)
    // A control database that takes too long to answer, as on a busy machine, is one more.
    const outages = lessor.outage.count
    t.ok(outages > 0)
    const said = logged().filter(({ msg }) => String(msg).startsWith('the control database is'))
    t.equal(said.length, 2 * outages, 'each has one line at its beginning and one at its end')
  },
)
