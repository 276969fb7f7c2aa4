import type postgres from 'postgres'
import t, { type Test } from 'tap'
import type { TestTenant } from '../support/app.ts'
import { testDatabase } from '../support/database.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { isLoginOf } from './logins.ts'
import { Stage } from './stage.ts'
import { Traffic } from './traffic.ts'

/** The breaker's pause, each time: base and longest are the same. It is never shorter than half of it. */
const PAUSE_MS = 400
/** A refused login reads the credential once more and tries again. */
const LOGINS_PER_PROBE = 2
/** Logins under way at once when the first of them fails: POOL_MAX_CONNECTIONS, see Stage. */
const AT_ONCE = 3
/** Callers of the broken tenant. */
const CALLERS = 20

const { url } = await testDatabase(t)
const proxy = await TcpProxy.start(t, url)
const stage = await Stage.open(t, {
  url,
  proxy,
  tenants: 5,
  environment: { BREAKER_BASE_MS: String(PAUSE_MS), BREAKER_MAX_MS: String(PAUSE_MS) },
})
const [broken, ...others] = stage.tenants
if (broken === undefined) throw new Error('bug in the test: no tenant')

interface Damage {
  readonly what: string
  readonly spoil: (admin: postgres.Sql, role: string) => Promise<unknown>
  readonly mend: (admin: postgres.Sql, role: string) => Promise<unknown>
}

const DAMAGES: readonly Damage[] = [
  {
    what: 'its role may not log in',
    spoil: (admin, role) => admin`alter role ${admin(role)} nologin`,
    mend: (admin, role) => admin`alter role ${admin(role)} login`,
  },
  {
    what: 'its password was changed by hand',
    spoil: async (admin, role) => {
      await admin`create table if not exists kept as select rolname, rolpassword from pg_authid`
      await admin`alter role ${admin(role)} password 'by hand'`
    },
    mend: async (admin, role) => {
      const [row] = await admin<
        { rolpassword: string }[]
      >`select rolpassword from kept where rolname = ${role}`
      // A verifier is stored as it is (PostgreSQL manual, CREATE ROLE).
      await admin.unsafe(`alter role "${role}" password '${row?.rolpassword}'`)
      await admin`drop table kept`
    },
  },
  {
    what: 'its role is gone',
    spoil: (admin, role) => admin`alter role ${admin(role)} rename to ${admin(`${role}_gone`)}`,
    mend: (admin, role) => admin`alter role ${admin(`${role}_gone`)} rename to ${admin(role)}`,
  },
  {
    what: 'its role has no connection left',
    spoil: (admin, role) => admin`alter role ${admin(role)} connection limit 0`,
    mend: (admin, role) => admin`alter role ${admin(role)} connection limit 32`,
  },
]

for (const { what, spoil, mend } of DAMAGES) {
  t.test(`one tenant's database refuses it: ${what}. Others do not notice`, async (t) => {
    const role = `tb_${broken.id.replaceAll('-', '')}`
    const traffic = await stage.traffic(t, { tenants: others, callers: 2 })
    await withAdmin(url, async (admin) => {
      await spoil(admin, role)
      await admin`select pg_terminate_backend(pid) from pg_stat_activity where usename in (${role}, ${`${role}_gone`})`
    })
    await hammer(t, broken, traffic)
    await withAdmin(url, (admin) => mend(admin, role))
    await served(broken)
    t.equal(traffic.failed, 0, `no request of ${others.length} other tenants failed, of ${traffic.total}`)
    await stage.judge(t, traffic, [])
  })
}

t.test("one tenant's logins hang. Others do not notice", async (t) => {
  const traffic = await stage.traffic(t, { tenants: others, callers: 2 })
  await stage.pools.evict(broken.id, 'operator')
  proxy.inflict({ kind: 'silence' }, isLoginOf(broken.id))
  const before = stage.pools.counters()
  await hammer(t, broken, traffic)
  await proxy.heal()
  await served(broken)
  t.equal(traffic.failed, 0, `no request of ${others.length} other tenants failed, of ${traffic.total}`)
  t.equal(stage.pools.counters().breakers.opened.server, before.breakers.opened.server)
  await stage.judge(t, traffic, [])
})

t.test('after all that the service closes and leaves nothing', (t) => stage.close(t))

/** hammer lets many callers of a broken tenant try until all of them know, and others had their requests. */
async function hammer(t: Test, tenant: TestTenant, meanwhile: Traffic): Promise<void> {
  const isItsLogin = isLoginOf(tenant.id)
  const logins = () => proxy.openings.filter(isItsLogin).length
  const [before, since] = [logins(), performance.now()]
  const calls = new Traffic({ tenants: [tenant], callers: CALLERS })
  t.teardown(() => calls.stop())
  meanwhile.since()
  await eventually(() =>
    (calls.outcomes.get('TENANT_UNAVAILABLE') ?? 0) >= 500 ? meanwhile.unserved(50) : calls.summary(),
  )
  await calls.stop()
  const pauses = Math.floor((performance.now() - since) / (PAUSE_MS / 2))
  const tried = logins() - before
  t.comment(`${tried} logins for ${calls.total} requests: ${calls.summary()}`)
  const most = (AT_ONCE + pauses) * LOGINS_PER_PROBE
  t.ok(tried <= most, `at most ${most} logins were tried`)
  t.strictSame(calls.odd, [], 'every 503 says when to come back')
}

/** served waits until a tenant is served again. */
async function served({ inject }: TestTenant): Promise<void> {
  await eventually(async () => {
    const { statusCode, body } = await inject({ url: '/v1/users' })
    return statusCode === 200 ? undefined : body
  })
}
