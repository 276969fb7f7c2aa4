import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { isLessorError } from '../../src/errors.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { type TestTenant, testApp } from '../support/app.ts'
import { rejectsLike } from '../support/like.ts'
import { targetOf } from '../support/target.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { OwnServer } from './own-server.ts'
import { Traffic } from './traffic.ts'

/** What callers may be answered while there is no primary. */
const GONE = [
  'CONNECTION_LOST',
  'CONTROL_UNAVAILABLE',
  'DATABASE_READ_ONLY',
  'POOL_OPEN_FAILED',
  'POOL_SATURATED',
  'SERVER_UNAVAILABLE',
  'TENANT_UNAVAILABLE',
]
const QUICK = { LOG_LEVEL: 'warn', BREAKER_BASE_MS: '50', BREAKER_MAX_MS: '400' }
const never = new AbortController().signal

/** startPair starts two servers; `url` names both, the primary first. */
async function startPair() {
  const primary = await OwnServer.start(t)
  const standby = await OwnServer.startStandby(t, primary)
  const standbyHost = new URL(standby.url).host
  return { primary, standby, standbyHost, url: primary.url.replace(/(@[^/]+)/, `$1,${standbyHost}`) }
}

const { primary, standby, standbyHost, url } = await startPair()

/**
 * replayed resolves when the standby has all that the primary has committed. Servers of tests commit without waiting for
 * the write-ahead log to be written; a switch of the log's file writes it.
 */
async function replayed(): Promise<void> {
  const [row] = await withAdmin(
    primary.url,
    (admin) => admin<{ lsn: string }[]>`select pg_switch_wal()::text as lsn`,
  )
  const lsn = row?.lsn ?? ''
  await eventually(() =>
    withAdmin(standby.url, async (admin) => {
      const [found] = await admin`select pg_last_wal_replay_lsn() >= ${lsn}::pg_lsn as there`
      return found?.there === true ? undefined : `the standby is not at ${lsn}`
    }),
  )
}

t.test('a standby is no server to log in to, alone or before the primary', async (t) => {
  await rejectsLike(t, openConnection(targetOf(standby.url), never), {
    code: 'NO_PRIMARY',
    message: `No host of the server takes writes: ${standbyHost} is a standby.`,
  })
  const control = new ControlDatabase({ url: standby.url })
  t.teardown(() => control.close())
  await rejectsLike(t, control.ping(), { code: 'CONTROL_UNAVAILABLE', cause: { code: 'NO_PRIMARY' } })

  const { host, port } = targetOf(primary.url)
  const connection = await openConnection(targetOf(standby.url, { alternates: [{ host, port }] }), never)
  const [row] = (await connection.run(sql`select pg_is_in_recovery() as standby`).result) as readonly object[]
  t.strictSame({ ...row }, { standby: false })
  const slow = connection.run(sql`select pg_sleep(300)`)
  const cancelled = rejectsLike(
    t,
    slow.result,
    { code: '57014' },
    'a cancel request goes to the host of its session',
  )
  await eventually(() =>
    withAdmin(primary.url, async (admin) => {
      const rows =
        await admin`select from pg_stat_activity where pid = ${connection.pid} and wait_event = 'PgSleep'`
      return rows.length === 1 ? undefined : 'the statement does not run yet'
    }),
  )
  await slow.cancel()
  await cancelled
  await connection.close()
})

t.test(
  "the service's own connections are given up when the server reports that they take no writes",
  async (t) => {
    const control = new ControlDatabase({ url: primary.url, maxConnections: 1 })
    t.teardown(() => control.close())
    const pid = async () =>
      (await control.query<{ pid: number }>(sql`select pg_backend_pid() as pid`))[0]?.pid
    const before = await pid()
    t.equal(await pid(), before)
    await control.query(sql`select set_config('default_transaction_read_only', 'on', false)`)
    t.not(await pid(), before, 'though nothing was written')
  },
)

t.test('tenants of all placements are served on after a failover that breaks no connection', async (t) => {
  const service = await testApp(t, {
    DATABASE_URL: url,
    ...QUICK,
    // With one connection each, no read can come after a write that went to another host.
    POOL_MAX_CONNECTIONS: '1',
    ROW_MAX_CONNECTIONS: '1',
  })
  const tenants: TestTenant[] = []
  for (const placement of PLACEMENTS) {
    const { tenant, api_key } = await service.lessor.tenants.onboard({ name: placement, placement })
    tenants.push({
      id: tenant.id,
      key: api_key.key,
      inject: (options) =>
        service.app.inject({
          ...options,
          headers: { authorization: `Bearer ${api_key.key}`, ...options.headers },
        }),
    })
  }
  await rejectsLike(
    t,
    service.lessor.servers.register({
      name: 'standby',
      url: new Secret(standby.url.replace('127.0.0.1', 'localhost')),
    }),
    {
      code: 'SERVER_UNAVAILABLE',
      message:
        'No host of the URL takes writes (NO_PRIMARY). Name the primary, and all hosts that it may move to.',
    },
  )
  // What is committed is not written for so long: only `replayed` sees to it that the standby has it.
  await withAdmin(primary.url, async (admin) => {
    await admin`alter system set wal_writer_delay = '10s'`
    await admin`select pg_reload_conf()`
  })
  const traffic = new Traffic({ tenants, callers: 2 })
  t.teardown(() => traffic.stop())
  await eventually(() => traffic.unserved())

  // The old primary lives on and takes no writes, as one does that was fenced off; no connection breaks.
  await withAdmin(primary.url, async (admin) => {
    await admin`alter system set default_transaction_read_only = on`
    await admin`select pg_reload_conf()`
  })
  // Each session hears of it by itself, and each tenant has one.
  await eventually(() => {
    const refused = [...traffic.writes.values()].filter(({ outcome }) => outcome === 'failed')
    const left = tenants.length - new Set(refused.map(({ tenantId }) => tenantId)).size
    return left === 0 ? undefined : `no write of ${left} tenants was refused`
  })
  await replayed()
  await withAdmin(standby.url, (admin) => admin`select pg_promote()`)
  traffic.since()
  t.comment(`served again after ${await eventually(() => traffic.unserved(20))} ms`)
  await eventually(async () => {
    try {
      await service.onboard('new')
      return undefined
    } catch (error) {
      // A write of the service's own that met the old primary is refused once, and finds the new one then.
      if (isLessorError(error, 'CONTROL_UNAVAILABLE', 'SERVER_UNAVAILABLE')) return error.code
      throw error
    }
  })
  await traffic.stop()

  t.comment(traffic.summary())
  t.strictSame([...traffic.outcomes.keys()].toSorted(), ['DATABASE_READ_ONLY', 'ok'], 'no 500')
  t.strictSame(traffic.odd, [], 'every 503 says when to come back')

  await primary.stop()
  for (const { id: tenantId } of tenants) {
    const written = [...traffic.writes].filter((write) => write[1].tenantId === tenantId)
    const added = written.filter(([, { outcome }]) => outcome === 'acknowledged').map(([name]) => name)
    const found = await service.lessor.pools.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
      db.query<{ name: string }>(sql`select first_name as name from users where last_name = ${traffic.id}`),
    )
    const names = new Set(found.map(({ name }) => name))
    t.ok(added.length > 0)
    t.strictSame(
      added.filter((name) => !names.has(name)),
      [],
      'every write that was acknowledged is on the new primary',
    )
  }
  await t.resolves(service.onboard('newer'))
})

t.test('a primary that is gone is followed by its standby', async (t) => {
  const { primary, standby, url } = await startPair()
  const service = await testApp(t, { ...QUICK, DATABASE_URL: url })
  const tenants = [await service.onboard('first'), await service.onboard('second')]
  const traffic = new Traffic({ tenants, callers: 2 })
  t.teardown(() => traffic.stop())
  await eventually(() => traffic.unserved())
  await primary.stop()
  await eventually(() => (traffic.failed >= 20 ? undefined : `${traffic.failed} requests refused`))
  await withAdmin(standby.url, (admin) => admin`select pg_promote()`)
  traffic.since()
  t.comment(`served again after ${await eventually(() => traffic.unserved())} ms`)
  await traffic.stop()
  t.comment(traffic.summary())
  t.strictSame(
    [...traffic.outcomes.keys()].filter((outcome) => outcome !== 'ok' && !GONE.includes(outcome)),
    [],
    'no 500',
  )
  t.strictSame(traffic.odd, [], 'every 503 says when to come back')
})
