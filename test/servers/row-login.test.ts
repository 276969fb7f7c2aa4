import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { dataFiles } from '../../src/control/data-files.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { sql } from '../../src/pool/statement.ts'
import type { RowLogin } from '../../src/servers/row-login.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { makeVault, openServers } from './support.ts'

/** A control database, and processes that start on it. */
async function open(t: Test) {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  const vault = makeVault()
  const problems: unknown[] = []
  function process() {
    const servers = openServers({
      db,
      vault,
      address: parseDatabaseUrl(url),
      onProblem: (_, error) => problems.push(error),
    })
    t.teardown(() => servers.close())
    return servers
  }
  return { db, process, problems }
}

const row = () => new RowPlacement({ files: dataFiles() })
const TENANT = randomUUID()

/** Reads as a tenant through the login, as the pool engine would. */
async function use(servers: ReturnType<typeof openServers>, login: RowLogin): Promise<readonly object[]> {
  return (await servers.admin('default')).asLogin(login, (db) =>
    db.transaction(async (tx) => {
      await tx.script(`set local rls.tenant_id = '${TENANT}'; set local search_path = app`)
      return tx.query(sql`select current_user::text as "user", (select count(*)::integer from users) as rows`)
    }),
  )
}

t.test('processes that start at once agree on one login, which works', async (t) => {
  const { db, process, problems } = await open(t)
  const processes = [process(), process(), process(), process()]
  await Promise.all(processes.map((each) => each.start([row()])))
  const logins = await Promise.all(processes.map((each) => each.runtime('default')))
  const [first] = logins
  if (first === undefined) throw new Error('there is no login')
  t.match(first.user, /^lessor_row_[0-9a-f]{12}$/)
  for (const login of logins) {
    t.equal(login.user, first.user)
    t.equal(login.password.reveal(), first.password.reveal())
  }
  sameRows(t, await use(process(), first), [{ user: first.user, rows: 0 }])
  like(t, await db.query(sql`select server, purpose, login from lessor.server_credentials`), [
    { server: 'default', purpose: 'row', login: first.user },
  ])
  t.strictSame(problems, [])
})

t.test('a start leaves a login that works as it is', async (t) => {
  const { db, process } = await open(t)
  const first = process()
  await first.start([row()])
  const { user } = await first.runtime('default')
  const verifier = () => db.query(sql`select rolpassword from pg_authid where rolname = ${user}`)
  const before = await verifier()
  const second = process()
  await second.start([row()])
  sameRows(t, await verifier(), before)
  t.equal((await second.runtime('default')).user, user)
})

t.test('a process that dies before the role is made leaves a login that the next one makes', async (t) => {
  const { db, process, problems } = await open(t)
  const dying = row()
  dying.provisionRuntime = async () => {
    throw new Error('the power')
  }
  await process().start([dying])
  like(t, problems, [{ message: 'the power' }])
  const [stored] = await db.query<{ login: string }>(sql`select login from lessor.server_credentials`)
  sameRows(t, await db.query(sql`select from pg_roles where rolname = ${stored?.login ?? ''}`), [])

  const next = process()
  await next.start([row()])
  const login = await next.runtime('default')
  t.equal(login.user, stored?.login)
  like(t, await use(next, login), [{ user: login.user }])
})

t.test('a login that was not made at the start is made at its first use', async (t) => {
  const { process } = await open(t)
  const placement = row()
  const provision = placement.provisionRuntime.bind(placement)
  placement.provisionRuntime = async () => {
    placement.provisionRuntime = provision
    throw new Error('the power')
  }
  const servers = process()
  await servers.start([placement])
  like(t, await use(servers, await servers.runtime('default')), [{ rows: 0 }])
})

for (const [what, damage] of [
  ['is gone, as after a restore', (user: string) => `drop owned by ${user}; drop role ${user}`],
  ['has another password', (user: string) => `alter role ${user} password 'changed'`],
  ['may not log in', (user: string) => `alter role ${user} nologin`],
  ['belongs to no group any more', (user: string) => `revoke lessor_row from ${user}`],
] as const) {
  t.test(`a login that ${what} is made again at the next start, with the same password`, async (t) => {
    const { db, process } = await open(t)
    const before = process()
    await before.start([row()])
    const login = await before.runtime('default')
    await db.script(damage(login.user))
    await rejectsLike(t, use(before, login), { code: 'SERVER_UNAVAILABLE' })
    const after = process()
    await after.start([row()])
    const again = await after.runtime('default')
    t.equal(again.password.reveal(), login.password.reveal())
    like(t, await use(after, again), [{ user: login.user, rows: 0 }])
  })
}

t.test('without the placement row there is no such login', async (t) => {
  const { db, process } = await open(t)
  const servers = process()
  await servers.start([])
  await rejectsLike(t, servers.runtime('default'), { code: 'PLACEMENT_UNAVAILABLE' })
  sameRows(t, await db.query(sql`select from lessor.server_credentials`), [])
})

t.test('a login that is not walled in is not used', async (t) => {
  const { process, problems } = await open(t)
  const first = process()
  await first.start([row()])
  await first.runtime('default')
  const admin = await first.admin('default')
  await admin.script(
    'alter table app.users no force row level security; alter table app.users disable row level security',
  )
  const second = process()
  await second.start([row()])
  like(t, problems, [{ code: 'INTERNAL', message: /not walled in: .*row level security/ }])
  await rejectsLike(t, second.runtime('default'), { code: 'INTERNAL' })
  await admin.script(
    'alter table app.users enable row level security; alter table app.users force row level security',
  )
  like(t, await second.runtime('default'), { user: /^lessor_row_/ }, 'and is once it is again')
})
