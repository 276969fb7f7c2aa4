import type { InjectOptions } from 'fastify'
import t from 'tap'
import { type Db, sql } from '../../src/pool/statement.ts'
import { type TestApp, type TestTenant, testApp } from '../support/app.ts'
import { excludes, like, sameRows } from '../support/like.ts'

const ROTATIONS = 6

t.test('callers of two processes notice nothing of several rotations in a row', async (t) => {
  const environment = {
    POOL_MAX_CONNECTIONS: '8',
    ROLE_CONNECTION_LIMIT: '40',
    // Whoever is not told goes on with what he knows.
    TENANT_CACHE_SECONDS: '600',
    CHANGE_POLL_MS: '200',
  }
  const first = await testApp(t, environment)
  const second = await testApp(t, {
    ...environment,
    DATABASE_URL: first.databaseUrl,
    VAULT_KEYS: first.vaultKeys,
  })
  const [busy, other] = [await first.onboard('Busy'), await first.onboard('Other')]
  const { operator } = first
  const failures: string[] = []
  const seen = new Set<string>()
  const done: Record<string, number> = {}
  let isOver = false

  /** A caller who asks again and again until the end. */
  async function call(name: string, work: () => Promise<void>): Promise<void> {
    while (!isOver && failures.length === 0) {
      try {
        await work()
        done[name] = (done[name] ?? 0) + 1
      } catch (error) {
        failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }

  async function request(app: TestApp, tenant: TestTenant, options: InjectOptions, status: number) {
    const headers = { authorization: `Bearer ${tenant.key}` }
    const answer = await app.app.inject({ ...options, headers })
    if (answer.statusCode !== status) throw new Error(`${answer.statusCode} ${answer.body}`)
  }

  async function use({ lessor }: TestApp, work: (db: Db) => Promise<unknown>): Promise<void> {
    const ref = lessor.directory.peek(busy.id) ?? (await lessor.directory.resolve(busy.id))
    if (ref === undefined) throw new Error('the tenant should be known')
    await lessor.pools.use(ref, new AbortController(), work)
  }

  const list = { method: 'GET', url: '/v1/users?page_size=5' } as const
  const add = { method: 'POST', url: '/v1/users', payload: { first_name: 'A', last_name: 'B' } } as const
  const callersOf = (app: TestApp, name: string) => [
    call(`${name} list`, () => request(app, busy, list, 200)),
    call(`${name} list`, () => request(app, busy, list, 200)),
    call(`${name} add`, () => request(app, busy, add, 201)),
    call(`${name} neighbour`, () => request(app, other, list, 200)),
    call(`${name} transaction`, () =>
      use(app, (db) =>
        db.transaction(async (tx) => {
          const [row] = await tx.query<{ user: string }>(sql`select current_user as user`)
          seen.add(`${name} ${row?.user}`)
          await tx.query(sql`insert into app.users (first_name, last_name) values ('in', 'a transaction')`)
          await tx.query(sql`delete from app.users where first_name = 'in'`)
        }),
      ),
    ),
    call(`${name} long statement`, () => use(app, (db) => db.query(sql`select pg_sleep(0.7)`))),
    call(`${name} long transaction`, () =>
      use(app, (db) =>
        db.transaction(async (tx) => {
          for (let part = 0; part < 8; part++) await tx.query(sql`select pg_sleep(0.1)`)
        }),
      ),
    ),
    call(`${name} long lease`, () =>
      use(app, async (db) => {
        for (let part = 0; part < 8; part++) {
          await db.query(sql`select pg_sleep(0.05)`)
          await new Promise(setImmediate)
        }
      }),
    ),
  ]
  const callers = [...callersOf(first, 'first'), ...callersOf(second, 'second')]

  const path = `/v1/tenants/${busy.id}`
  const read = async () => (await operator({ method: 'GET', url: path })).json()
  for (let round = 1; round <= ROTATIONS; round++) {
    const before = { ...done }
    const answer = await operator({ method: 'POST', url: `${path}/rotate-credential` })
    t.equal(answer.statusCode, 202, `rotation ${round} is answered when the new login is in use`)
    like(t, answer.json(), { generation: round + 1, colour: round % 2 === 1 ? 'green' : 'blue' })
    // Every kind of caller gets something done in each round, and the old login goes meanwhile.
    const isServed = () => Object.keys(before).every((name) => (done[name] ?? 0) > (before[name] ?? 0))
    while (failures.length === 0 && ((await read()).job !== null || !isServed())) {
      await new Promise(setImmediate)
    }
  }
  isOver = true
  await Promise.all(callers)
  t.strictSame(failures, [])
  t.equal(Object.keys(done).length, 14)
  const hex = busy.id.replaceAll('-', '')
  t.strictSame(
    [...seen].sort(),
    ['first', 'second'].flatMap((name) => [`${name} tb_${hex}`, `${name} tg_${hex}`]),
    'both processes have used both logins',
  )
  const roles = await first.lessor.control.query<{ name: string }>(sql`
    select rolname as name from pg_roles where right(rolname, 32) = ${hex}`)
  sameRows(t, roles, [{ name: `tb_${hex}` }])
  like(t, await read(), { generation: ROTATIONS + 1, colour: 'blue', job: null })
  for (const app of [first, second]) excludes(t, app.logText(), /a process may still use/)
  t.comment(JSON.stringify(done))
})
