import t, { type Test } from 'tap'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { testedVersion } from '../postgres/environment.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { rejectsLike } from '../support/like.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { OwnServer } from './own-server.ts'
import { tenantSession } from './tenant-session.ts'

/** The fewest that there may be, so that some notifications fill the queue (PostgreSQL 17 and later). */
const PAGES = 64
const HAS_PAGES = Number(testedVersion()) >= 17
const NOISE = Array.from({ length: 20 }, (_, i) => `notify noise, '${i}${'x'.repeat(7000)}'`).join(';')
const UNANNOUNCED = 'a change could not be announced (NOTIFY), other processes find it by polling'

/** One login of a tenant fills the queue of the whole server: one session hears nothing, the other tells it all. */
async function fillQueue(t: Test, { lessor }: TestApp, tenantId: string): Promise<() => Promise<void>> {
  const deaf = await tenantSession(t, lessor, tenantId)
  const loud = await tenantSession(t, lessor, tenantId)
  await deaf`listen noise`
  await deaf`begin`
  await deaf`select 1`
  for (let isFull = false; !isFull; ) {
    try {
      await loud.unsafe(NOISE)
    } catch (error) {
      if (errorCode(error) !== '54000') throw error
      isFull = true
    }
  }
  // What is left of the last page.
  const last = await loud`notify noise`.catch(errorCode)
  if (last !== '54000') throw new Error('the queue is not full')
  return async () => {
    await deaf`rollback`
  }
}

t.test('before PostgreSQL 17 no queue can be made small, and one of 8 GB is not filled here', async (t) => {
  const server = await OwnServer.start(t)
  const isSmall = withAdmin(server.url, (admin) =>
    admin.unsafe(`alter system set max_notify_queue_pages = ${PAGES}`),
  )
  if (HAS_PAGES) t.strictSame([...(await isSmall)], [])
  else await rejectsLike(t, isSmall, { code: '42704' })
})

if (HAS_PAGES) t.test('a full queue of notifications keeps no operator and no node from anything', fullQueue)

async function fullQueue(t: Test): Promise<void> {
  const server = await OwnServer.start(t)
  await server.configure({ max_notify_queue_pages: PAGES })
  const a = await testApp(t, { DATABASE_URL: server.url, LOG_LEVEL: 'warn' })
  const node = { DATABASE_URL: server.url, LOG_LEVEL: 'warn', VAULT_KEYS: a.vaultKeys }
  // What they remember is forgotten by the change feed alone.
  const patient = { ...node, TENANT_CACHE_SECONDS: '3600', API_KEY_CACHE_SECONDS: '3600' }
  const b = await testApp(t, patient)

  const { tenant: enemy } = await a.lessor.tenants.onboard({ name: 'enemy', placement: 'database' })
  const victims = []
  for (const placement of ['row', 'role', 'schema', 'database'] as const) {
    const { tenant, api_key } = await a.lessor.tenants.onboard({ name: placement, placement })
    victims.push({ placement, id: tenant.id, key: api_key.key, keyId: api_key.id })
  }
  const statusAtB = async (key: string) => {
    const { statusCode } = await b.app.inject({
      url: '/v1/users',
      headers: { authorization: `Bearer ${key}` },
    })
    return statusCode
  }
  for (const { key } of victims) t.equal(await statusAtB(key), 200)

  const release = await fillQueue(t, a, enemy.id)
  await rejectsLike(
    t,
    withAdmin(server.url, (admin) => admin`select pg_notify('lessor_changes', '')`),
    { code: '54000' },
    'the queue is full for the service as well',
  )

  const status = async (method: 'POST' | 'DELETE', url: string) =>
    (await a.operator({ method, url })).statusCode
  const ends = victims.map(async ({ placement, id, key, keyId }) => {
    const heard = (code: number) =>
      eventually(async () => {
        const found = await statusAtB(key)
        return found === code ? undefined : `the other node answers ${found}`
      })
    t.equal(await status('POST', `/v1/tenants/${id}/suspend`), 200)
    t.comment(`${placement}: suspended on the other node after ${await heard(403)} ms`)
    t.equal(await status('POST', `/v1/tenants/${id}/resume`), 200)
    await heard(200)
    if (placement !== 'row') {
      t.equal(await status('POST', `/v1/tenants/${id}/rotate-credential`), 202)
      const ms = await eventually(async () => {
        const rows = await withAdmin(
          server.url,
          (admin) => admin`select from lessor.jobs where tenant_id = ${id}`,
        )
        return rows.length === 0 ? undefined : 'the rotation is not over'
      })
      t.comment(`${placement}: the old login is gone after ${ms} ms`)
    }
    t.equal(await status('DELETE', `/v1/tenants/${id}/keys/${keyId}`), 204)
    t.comment(`${placement}: revoked on the other node after ${await heard(401)} ms`)
    t.equal(await status('DELETE', `/v1/tenants/${id}`), 202)
    const ms = await eventually(async () => {
      const { status } = await a.lessor.tenants.get(id)
      return status === 'deleted' ? undefined : status
    })
    t.comment(`${placement}: deleted after ${ms} ms`)
  })
  await Promise.all(ends)

  const c = await testApp(t, node)
  t.equal((await c.app.inject({ url: '/readyz' })).statusCode, 200, 'a node starts')
  await c.app.close()
  const rows = await withAdmin(server.url, (admin) => admin`select from lessor.nodes`)
  t.equal(rows.length, 2, 'a node that ends takes its row away')
  const probed = await a.operator({ method: 'POST', url: '/v1/servers/default/probe' })
  t.equal(probed.statusCode, 200)
  t.equal(probed.json<{ capabilities: { notify: boolean } }>().capabilities.notify, true)

  const said = a.logged().filter(({ msg }) => msg === UNANNOUNCED)
  t.equal(said.length, 1, 'it is said once')
  t.ok(a.lessor.control.unannounced > 1, 'and counted')
  await release()
  const { unannounced } = a.lessor.control
  const { tenant } = await a.lessor.tenants.onboard({ name: 'later' })
  t.equal((await a.operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/suspend` })).statusCode, 200)
  t.equal(a.lessor.control.unannounced, unannounced, 'with room in the queue they are announced again')
}
