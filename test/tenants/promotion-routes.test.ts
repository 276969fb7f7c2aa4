import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { type TestApp, type TestTenant, testApp } from '../support/app.ts'
import { excludes, like } from '../support/like.ts'

const USERS = 300
const list = { method: 'GET', url: '/v1/users?page_size=5' } as const
const add = { method: 'POST', url: '/v1/users', payload: { first_name: 'A', last_name: 'new' } } as const

async function onboard(service: TestApp, name: string, placement: PlacementName): Promise<TestTenant> {
  const { tenant, api_key } = await service.lessor.tenants.onboard({ name, placement })
  const headers = { authorization: `Bearer ${api_key.key}` }
  return {
    id: tenant.id,
    key: api_key.key,
    inject: (options) => service.app.inject({ ...options, headers }),
  }
}

for (const placement of ['role', 'row'] as const) {
  t.test(`callers of placement ${placement} notice nothing of a promotion and a demotion`, async (t) => {
    const service = await testApp(t)
    const { operator, lessor } = service
    const [large, other] = [
      await onboard(service, 'Large', placement),
      await onboard(service, 'Other', placement),
    ]
    for (const tenant of [large, other]) {
      const ref = await lessor.directory.resolve(tenant.id)
      if (ref === undefined) throw new Error('the tenant should be known')
      await lessor.pools.use(ref, new AbortController(), (db) =>
        db.query(sql`
          insert into users (tenant_id, first_name, last_name)
          select ${tenant.id}::uuid, 'A', 'made' from generate_series(1, ${USERS}::integer)`),
      )
    }
    const failures: string[] = []
    const acknowledged = new Map<string, Set<string>>()
    let rounds = 0
    let isOver = false

    /** Adds, changes, reads and deletes one user after the other; the others stay as many as they are. */
    async function call(tenant: TestTenant): Promise<void> {
      const own = new Set<string>()
      acknowledged.set(tenant.id, own)
      const expect = async (status: number, options: Parameters<TestTenant['inject']>[0]) => {
        const answer = await tenant.inject(options)
        if (answer.statusCode !== status) failures.push(`${answer.statusCode} ${answer.body}`)
        return answer
      }
      while (!isOver && failures.length === 0) {
        const { id } = (await expect(201, add)).json()
        own.add(id)
        const url = `/v1/users/${id}`
        await expect(200, { method: 'PATCH', url, payload: { confirmed: true } })
        const read = await expect(200, { method: 'GET', url })
        if (read.json().confirmed !== true) failures.push(`the change of ${id} was lost`)
        const { total } = (await expect(200, list)).json()
        if (total !== USERS + own.size) failures.push(`${total} users, not ${USERS + own.size}`)
        if (own.size % 2 === 0) {
          await expect(204, { method: 'DELETE', url })
          own.delete(id)
        }
        rounds += 1
      }
    }

    async function served(): Promise<void> {
      const before = rounds
      while (rounds < before + 6 && failures.length === 0) await new Promise(setImmediate)
    }

    const callers = [call(large), call(other)]
    const path = `/v1/tenants/${large.id}`
    for (const direction of ['promote', 'demote']) {
      await served()
      const answer = await operator({ method: 'POST', url: `${path}/${direction}` })
      t.equal(answer.statusCode, 202, answer.body)
      like(t, answer.json(), { id: large.id, job: { kind: direction, step: 'begin', progress: null } })
      for (;;) {
        const { job, partition } = (await operator({ method: 'GET', url: path })).json()
        if (job === null || failures.length > 0) {
          like(t, partition, direction === 'promote' ? { tablespace: null, promoted_at: String } : null)
          break
        }
        await new Promise(setImmediate)
      }
      await served()
    }
    isOver = true
    await Promise.all(callers)
    t.strictSame(failures, [])
    const left = await lessor.control.query<{ tenant: string; id: string }>(sql`
      select tenant_id as tenant, id from app.users where last_name = 'new' order by id`)
    for (const tenant of [large, other]) {
      t.strictSame(
        left.filter((row) => row.tenant === tenant.id).map((row) => row.id),
        [...(acknowledged.get(tenant.id) ?? [])].sort(),
        'every acknowledged write is there once',
      )
    }
    excludes(t, service.logText(), /it will be tried again/)
  })
}

t.test('what a promotion is asked for is checked', async (t) => {
  const service = await testApp(t)
  const tenant = await service.onboard('Checked')
  const path = `/v1/tenants/${tenant.id}`
  const post = (action: string, payload?: Record<string, unknown>) =>
    service.operator({ method: 'POST', url: `${path}/${action}`, ...(payload && { payload }) })
  for (const [action, payload, status, code] of [
    ['promote', { tablespace: '' }, 400, 'INVALID_REQUEST'],
    ['promote', { space: 'fast' }, 400, 'INVALID_REQUEST'],
    ['promote', { tablespace: 'nowhere' }, 422, 'PROMOTION_UNAVAILABLE'],
    ['demote', { max_rows: -1 }, 400, 'INVALID_REQUEST'],
  ] as const) {
    const answer = await post(action, payload)
    t.equal(answer.statusCode, status, JSON.stringify(payload))
    t.equal(answer.json().code, code)
  }
  t.equal((await tenant.inject({ method: 'POST', url: `${path}/promote` })).statusCode, 403, 'operators only')
  const promoted = await post('promote', { tablespace: 'pg_default' })
  t.equal(promoted.statusCode, 202)
  for (;;) {
    const shown = (await service.operator({ method: 'GET', url: path })).json()
    if (shown.job !== null) continue
    like(t, shown.partition, { tablespace: 'pg_default' })
    break
  }
  t.equal((await tenant.inject(add)).statusCode, 201)
  t.equal((await post('demote', { max_rows: 0 })).json().code, 'PROMOTION_UNAVAILABLE')
  t.equal((await post('demote', { max_rows: 1 })).statusCode, 202)
})
