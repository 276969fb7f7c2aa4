import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { sql } from '../../src/pool/statement.ts'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { testApp } from '../support/app.ts'
import { rejectsLike } from '../support/like.ts'
import { withAdmin } from '../support/template.ts'
import { OwnServer } from './own-server.ts'

const server = await OwnServer.start(t)

/** setReadOnly resolves when every session that begins from now on has the setting. */
async function setReadOnly(value: 'on' | 'off'): Promise<void> {
  await withAdmin(server.url, async (admin) => {
    await admin.unsafe(`alter system set default_transaction_read_only = ${value}`)
    await admin`select pg_reload_conf()`
  })
  // The postmaster reloads in its own time.
  const says = () => withAdmin(server.url, (admin) => admin`show default_transaction_read_only`)
  while ((await says())[0]?.default_transaction_read_only !== value);
}

t.test("the service's own connections are given up with the write that was refused", async (t) => {
  const control = new ControlDatabase({ url: server.url })
  t.teardown(() => control.close())
  const pids = async () => {
    const both = [
      sql`select pg_backend_pid() as pid from pg_sleep(0.1)`,
      sql`select pg_backend_pid() as pid from pg_sleep(0.1)`,
    ]
    const found = await Promise.all(both.map((each) => control.query<{ pid: number }>(each)))
    return found.flat().map(({ pid }) => pid)
  }
  const before = await pids()
  t.equal(new Set(before).size, 2)
  await setReadOnly('on')
  t.teardown(() => setReadOnly('off'))
  const refused = { code: 'CONTROL_UNAVAILABLE', retryAfterSeconds: 1, cause: { code: '25006' } }
  await rejectsLike(t, control.query(sql`create table public.a (a int)`), refused)
  const after = await pids()
  t.strictSame(
    after.filter((pid) => before.includes(pid)),
    [],
    'also those that were idle',
  )
  await rejectsLike(t, control.script('create table public.a (a int)'), refused)
  t.notOk(after.includes((await pids())[0] ?? 0))
  await rejectsLike(
    t,
    control.transaction((tx) => tx.query(sql`create table public.a (a int)`)),
    refused,
  )
  await setReadOnly('off')
  await control.query(sql`create table public.a (a int)`)
})

t.test(
  'a server that is set to read only answers reads, and writes with 503, in every placement',
  async (t) => {
    const { lessor, app } = await testApp(t, { DATABASE_URL: server.url, LOG_LEVEL: 'silent' })
    const callers = []
    for (const placement of PLACEMENTS) {
      const { tenant, api_key } = await lessor.tenants.onboard({ name: placement, placement })
      const headers = { authorization: `Bearer ${api_key.key}` }
      const payload = { first_name: 'Ann', last_name: placement }
      callers.push({
        tenantId: tenant.id,
        placement,
        read: async () => (await app.inject({ url: '/v1/users', headers })).statusCode,
        write: async () => {
          const answer = await app.inject({ method: 'POST', url: '/v1/users', headers, payload })
          const { code } = answer.json<{ code?: string }>()
          return [answer.statusCode, code, answer.headers['retry-after']]
        },
      })
    }
    const readOnly = [503, 'DATABASE_READ_ONLY', '1']
    const written = [201, undefined, undefined]
    for (const { write } of callers) t.strictSame(await write(), written)
    await setReadOnly('on')
    for (const { placement, read, write } of callers) {
      t.strictSame([await read(), await write(), await read()], [200, readOnly, 200], placement)
    }
    await setReadOnly('off')
    for (const { write } of callers) t.strictSame(await write(), written)

    const [hurt, ...others] = callers.filter(({ placement }) => placement !== 'row')
    if (hurt === undefined) throw new Error('there is no tenant with a login of its own')
    await lessor.pools.use({ tenantId: hurt.tenantId, generation: 1 }, new AbortController(), (db) =>
      db.query(sql`alter role current_user set default_transaction_read_only = on`),
    )
    await lessor.pools.evict(hurt.tenantId, 'operator')
    t.strictSame([await hurt.read(), await hurt.write(), await hurt.read()], [200, readOnly, 200])
    for (const { write } of others)
      t.strictSame(await write(), written, 'a role that did so to itself hurts no other')
    const { breakers } = lessor.pools.counters()
    t.strictSame(breakers.opened, { tenant: 0, server: 0 })
  },
)
