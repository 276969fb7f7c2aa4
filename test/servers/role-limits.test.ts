import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import {
  ConnectionLimits,
  type ConnectionLimitsOptions,
  connectionLimitOf,
} from '../../src/servers/role-limits.ts'
import { loginsOf } from '../../src/tenants/logins.ts'
import { testApp } from '../support/app.ts'

const app = await testApp(t, { POOL_MAX_CONNECTIONS: '3' })
const admin = await app.lessor.servers.admin('default')

async function limitsOf(names: readonly string[]) {
  const rows = await admin.query<{ limit: number }>(sql`
    select rolconnlimit as limit from pg_roles where rolname = any(${[...names]}::text[])
    order by array_position(${[...names]}::text[], rolname::text)`)
  return rows.map(({ limit }) => limit)
}

async function login(t: Test, limit: number): Promise<string> {
  const name = loginName(randomUUID(), 'blue')
  await admin.script(`create role ${name} connection limit ${limit}`)
  t.teardown(() => admin.script(`drop role if exists ${name}`))
  return name
}

function upkeep(
  names: readonly string[],
  limit: () => number,
  options: Partial<ConnectionLimitsOptions> = {},
) {
  const raised: unknown[] = []
  const problems: unknown[] = []
  const limits = new ConnectionLimits({
    servers: { names: () => ['default'], admin: async () => admin },
    async *logins() {
      for (const name of names) yield [name]
    },
    isKeeper: () => true,
    limit,
    intervalMs: 1,
    onRaised: (...facts) => raised.push(facts),
    onProblem: (...facts) => problems.push(facts),
    ...options,
  })
  return { limits, raised, problems }
}

t.test('a login may have twice what the pools of all processes open, unless it is set', async (t) => {
  t.equal(connectionLimitOf({ connectionLimit: 0, poolConnections: 4, nodes: 3 }), 24)
  t.equal(
    connectionLimitOf({ connectionLimit: 0, poolConnections: 4, nodes: 0 }),
    8,
    'before the first heartbeat',
  )
  t.equal(connectionLimitOf({ connectionLimit: 7, poolConnections: 4, nodes: 3 }), 7)

  const { id } = await app.onboard()
  const [name = ''] = [loginName(id, 'blue')]
  t.strictSame(await limitsOf([name]), [6])
  await app.lessor.tenants.rotateCredential(id)
  t.strictSame(await limitsOf([loginName(id, 'green')]), [6])
})

t.test('logins that were made for fewer processes are raised, others stay as they are', async (t) => {
  const few = await login(t, 8)
  const more = await login(t, 40)
  const none = await login(t, -1)
  const shut = await login(t, 0)
  const names = [few, more, none, shut]
  let limit = 24
  const { limits, problems, raised } = upkeep(names, () => limit)
  await limits.turn()
  t.strictSame(await limitsOf(names), [24, 40, -1, 0])
  t.strictSame(raised, [['default', 1, 24]])

  await admin.script(`alter role ${few} connection limit 5`)
  await limits.turn()
  t.strictSame(await limitsOf([few]), [5], 'what was done for a limit is not done again')
  limit = 25
  await limits.turn()
  t.strictSame(await limitsOf([few]), [25])
  limit = 8
  await limits.turn()
  t.strictSame(await limitsOf([few]), [25], 'nothing is lowered')
  t.strictSame(problems, [])
  await limits.stop()
})

t.test('a login that cannot be raised does not keep the others, and is tried again', async (t) => {
  const [first, second] = [await login(t, 8), await login(t, 8)]
  const refused = new Error('refused')
  let isRefusing = true
  const { limits, problems, raised } = upkeep([first, second], () => 12, {
    servers: {
      names: () => ['default'],
      admin: async () => ({
        query: (statement) => admin.query(statement),
        transaction: (work) => admin.transaction(work),
        script: (text) => (isRefusing && text.includes(first) ? Promise.reject(refused) : admin.script(text)),
      }),
    },
  })
  await limits.turn()
  t.strictSame(await limitsOf([first, second]), [8, 12])
  t.strictSame(problems, [['default', refused]])
  isRefusing = false
  await limits.turn()
  t.strictSame(await limitsOf([first, second]), [12, 12])
  t.strictSame(raised, [
    ['default', 1, 12],
    ['default', 1, 12],
  ])
})

t.test('a process that keeps a data server again does not take what it once did for done', async (t) => {
  const name = await login(t, 8)
  let isKeeper = true
  const { limits, raised } = upkeep([name], () => 12, { isKeeper: () => isKeeper })
  await limits.turn()
  isKeeper = false
  await limits.turn()
  // Another process has made it meanwhile, of fewer nodes.
  await admin.script(`alter role ${name} connection limit 8`)
  isKeeper = true
  await limits.turn()
  t.strictSame(await limitsOf([name]), [12])
  t.strictSame(raised, [
    ['default', 1, 12],
    ['default', 1, 12],
  ])
})

t.test('only the process that keeps a data server raises, and none after the stop', async (t) => {
  const name = await login(t, 8)
  const other = upkeep([name], () => 12, { isKeeper: () => false })
  await other.limits.turn()
  t.strictSame(await limitsOf([name]), [8])
  const stopped = upkeep([name], () => 12)
  await stopped.limits.stop()
  await stopped.limits.turn()
  t.strictSame(await limitsOf([name]), [8])
})

t.test('all logins of a data server are found, page by page', async (t) => {
  const app = await testApp(t)
  const ids = [(await app.onboard()).id, (await app.onboard()).id]
  await app.lessor.control.query(sql`
    with made as (
      insert into lessor.tenants (id, name, name_key, namespace_id, status, placement, server, schema_version)
      select gen_random_uuid(), 'many ' || n, 'many ' || n, namespace_id, status, placement, server, schema_version
      from lessor.tenants, generate_series(1, 400) n where id = ${ids[0] ?? ''}::uuid
      returning id, colour)
    insert into lessor.credentials (tenant_id, colour, envelope, key_id, generation)
    select made.id, made.colour, c.envelope, c.key_id, c.generation
    from made, lessor.credentials c where c.tenant_id = ${ids[0] ?? ''}::uuid`)
  const found: string[] = []
  for await (const names of loginsOf(app.lessor.control, 'default')) found.push(...names)
  t.equal(found.length, 402)
  t.equal(new Set(found).size, 402)
  for (const id of ids) t.ok(found.includes(loginName(id, 'blue')))
  const none: string[] = []
  for await (const names of loginsOf(app.lessor.control, 'elsewhere')) none.push(...names)
  t.strictSame(none, [])
})

t.test('a turn counts for how many data servers it has failed', async (t) => {
  const turns: number[] = []
  const { limits, problems } = upkeep([], () => 24, {
    servers: {
      names: () => ['away', 'default', 'gone'],
      admin: async (server) => {
        if (server !== 'default') throw new Error(server)
        return admin
      },
    },
    beginTurn: () => (failures) => turns.push(failures),
  })
  await limits.turn()
  t.strictSame(turns, [2])
  t.strictSame(problems, [
    ['away', new Error('away')],
    ['gone', new Error('gone')],
  ])
})
