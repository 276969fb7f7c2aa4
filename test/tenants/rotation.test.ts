import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { LessorError } from '../../src/errors.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { ident, sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { findLogin } from '../../src/tenants/credential-store.ts'
import { openLogin } from '../../src/tenants/login.ts'
import { type Colour, otherColour } from '../../src/tenants/tenant.ts'
import { testedVersion } from '../postgres/environment.ts'
import { rewritingAdmin } from '../servers/rewriting-admin.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { type House, type HouseOptions, NOTHING, openHouse, traces } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })
const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
t.teardown(() => admin.close())

const caller = () => new AbortController()
/** What a tenant has after a rotation, and had before it. */
const WHOLE = { ...NOTHING, roles: 1, tenants: 1, credentials: 1, keys: 1 }

async function withTenant(t: Test, name: string, options: Partial<HouseOptions> = {}) {
  const house = await openHouse(t, { url, ...options })
  const { tenant } = await house.tenants.onboard({ name })
  return { ...house, id: tenant.id }
}

function roleName(tenantId: string, colour: Colour): string {
  return `${colour === 'blue' ? 'tb' : 'tg'}_${tenantId.replaceAll('-', '')}`
}

/** ended resolves when no job works on the tenant any more. */
async function ended({ tenants }: Pick<House, 'tenants'>, id: string): Promise<void> {
  while ((await tenants.get(id)).job !== null) await new Promise(setImmediate)
}

/** targetOf is how the tenant logs in with the credential of a colour, as far as the vault has it. */
async function targetOf({ db, vault, servers, placement }: House, id: string, colour?: Colour) {
  const sealed = await findLogin(db, id, colour)
  if (sealed === undefined) throw new Error('the tenant should have a row')
  return openLogin({ vault, servers, placements: new Map([['role', placement]]) }, sealed)
}

async function userOf(house: Pick<House, 'pools' | 'directory'>, id: string) {
  const ref = await house.directory.resolve(id)
  if (ref === undefined) throw new Error('the tenant should be known')
  return house.pools.use(ref, caller(), async (db) => {
    const [row] = await db.query<{ name: string }>(sql`select current_user as name`)
    return row?.name
  })
}

/** What the server knows of a role, but for its name and password. */
async function portrait(role: string) {
  return admin.query(sql`
    select rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
      rolconnlimit, rolvaliduntil, left(rolpassword, 14) as kind,
      (select setconfig from pg_db_role_setting where setrole = r.oid and setdatabase = 0) as settings,
      array(select format('%s %s', roleid::regrole, to_jsonb(m) - array['oid', 'member', 'roleid'])
        from pg_auth_members m where member = r.oid) as member_of,
      array(select member::regrole::text from pg_auth_members where roleid = r.oid) as members,
      (select count(*)::integer from pg_shdepend
        where refobjid = r.oid and refclassid = 'pg_authid'::regclass) as dependants
    from pg_authid r
    where rolname = ${role}`)
}

t.test('a rotation puts a new login into use, and the old one is gone in the end', async (t) => {
  const house = await withTenant(t, 'Rotated')
  const { id, tenants, directory } = house
  t.equal(await userOf(house, id), roleName(id, 'blue'))
  let [colour, generation]: [Colour, number] = ['blue', 1]
  for (const round of [1, 2, 3]) {
    const old = await targetOf(house, id)
    const before = await portrait(old.user)
    const rotated = await tenants.rotateCredential(id)
    ;[colour, generation] = [otherColour(colour), generation + 1]
    like(t, rotated, { status: 'active', colour, generation, job: { kind: 'rotate' } }, `round ${round}`)
    like(t, await directory.resolve(id), { generation }, 'seen at once')
    t.equal(await userOf(house, id), roleName(id, colour))
    await ended(house, id)
    like(t, await tenants.get(id), { colour, generation, job: null })
    await rejectsLike(t, openConnection(old, AbortSignal.timeout(5_000)), { code: '28P01' }, 'the old login')
    sameRows(
      t,
      await admin.query(sql`select from pg_roles where rolname = ${old.user}`),
      [],
      'its role is gone',
    )
    await rejectsLike(t, targetOf(house, id, otherColour(colour)), { code: 'VAULT_OPEN_FAILED' })
    t.strictSame(await traces(house, id), WHOLE, 'nothing else is left')
    t.equal(before.length, 1)
    sameRows(t, await portrait(roleName(id, colour)), before, 'the same attributes, limits and grants')
    const connection = await openConnection(await targetOf(house, id), AbortSignal.timeout(5_000))
    await connection.close()
  }
  t.strictSame(house.failures, [])
  t.strictSame(house.overdue, [])
})

t.test('the new login reaches the rows of its own tenant and nothing else', async (t) => {
  const house = await withTenant(t, 'Walled')
  const { id, tenants, pools } = house
  const { tenant: other } = await tenants.onboard({ name: 'Neighbour of Walled' })
  for (const tenantId of [id, other.id]) {
    await pools.use({ tenantId, generation: 1 }, caller(), (db) =>
      db.query(sql`insert into app.users (first_name, last_name) select 'a', 'b' from generate_series(1, 7)`),
    )
  }
  await tenants.rotateCredential(id)
  await ended(house, id)
  const target = await targetOf(house, id)
  t.equal(target.user, roleName(id, 'green'))
  const connection = await openConnection(target, AbortSignal.timeout(5_000))
  t.teardown(() => connection.destroy())
  const run = (statement: ReturnType<typeof sql>) => connection.run(statement).result
  t.equal((await run(sql`select from app.users`)).length, 7)
  t.equal((await run(sql`select from app.users where tenant_id = ${other.id}`)).length, 0)
  const forge = sql`insert into app.users (tenant_id, first_name, last_name) values (${other.id}, 'x', 'y')`
  await rejectsLike(t, run(forge), { code: '42501' })
  await run(sql`select set_config('rls.tenant_id', ${other.id}, false)`)
  t.equal((await run(sql`select from app.users`)).length, 7, 'whatever it says who it is')
  const told = (statement: ReturnType<typeof sql>) =>
    run(statement).then(
      (rows) => [...rows],
      (error: { code?: string }) => error.code,
    )
  for (const [how, way, outcome, seen] of [
    ['without row security', sql`set row_security = off`, [], '42501'],
    ['as whoever logged in', sql`reset role`, [], [{ id }]],
    // Before PostgreSQL 16 who inherits from a role may take it on, which has no tenant then.
    ...(Number(testedVersion()) >= 16
      ? [['as the group', sql`set role lessor_tenant`, '42501', [{ id }]] as const]
      : [['as the group', sql`set role lessor_tenant`, [], '22P02'] as const]),
    ['as the login again', sql`reset role`, [], [{ id }]],
    ['as the keeper', sql`set role lessor_keeper`, '42501', [{ id }]],
    ['as the old login', sql`set role ${ident(roleName(id, 'blue'))}`, '22023', [{ id }]],
  ] as const) {
    t.strictSame(await told(way), outcome, how)
    t.strictSame(await told(sql`select distinct tenant_id as id from app.users`), seen, how)
    await run(sql`reset row_security`)
  }
  await rejectsLike(t, run(sql`select from lessor.tenants`), { code: '42501' })
  await rejectsLike(t, run(sql`truncate app.users`), { code: '42501' })
  await rejectsLike(t, run(sql`create table app.own (id int)`), { code: '42501' })
})

t.test('what a tenant owns is its own after a rotation', async (t) => {
  const house = await withTenant(t, 'Owner')
  const { id, pools, tenants } = house
  await admin.script('grant execute on function lo_from_bytea(oid, bytea) to lessor_tenant')
  const made = await pools.use({ tenantId: id, generation: 1 }, caller(), async (db) => {
    const [row] = await db.query<{ oid: number }>(sql`select lo_from_bytea(0, 'kept') as oid`)
    return row?.oid ?? 0
  })
  await tenants.rotateCredential(id)
  await ended(house, id)
  const read = await pools.use({ tenantId: id, generation: 2 }, caller(), (db) =>
    db.query(sql`select convert_from(lo_get(${made}::oid), 'utf8') as text, lo_unlink(${made}::oid)`),
  )
  like(t, read, [{ text: 'kept' }])
})

t.test(
  'a lease taken before the flip works on to its end, and holds up the end of the old login',
  async (t) => {
    const house = await withTenant(t, 'Leased')
    const { id, pools, tenants } = house
    const lease = await pools.acquire({ tenantId: id, generation: 1 }, caller())
    await lease.db.transaction(async (tx) => {
      await tx.query(sql`insert into app.users (first_name, last_name) values ('before', 'the flip')`)
      await tenants.rotateCredential(id)
      t.equal(await userOf(house, id), roleName(id, 'green'))
      await tx.query(sql`insert into app.users (first_name, last_name) values ('after', 'the flip')`)
      like(t, await tx.query(sql`select current_user as name`), [{ name: roleName(id, 'blue') }])
    })
    like(t, await lease.db.query(sql`select count(*)::integer as rows from app.users`), [{ rows: 2 }])
    like(t, await tenants.get(id), { job: { kind: 'rotate', step: 'drain' } })
    like(t, await traces(house, id), { roles: 2, credentials: 2 })
    lease.release()
    await ended(house, id)
    t.strictSame(await traces(house, id), { ...WHOLE, rows: 2 })
  },
)

/** Whether a role may log in; undefined when there is none. */
async function canLogIn(role: string): Promise<boolean | undefined> {
  const [row] = await admin.query<{ can: boolean }>(
    sql`select rolcanlogin as can from pg_roles where rolname = ${role}`,
  )
  return row?.can
}

t.test('the old login is kept out while a lease holds up its end', async (t) => {
  const house = await withTenant(t, 'Kept out', { limits: { drainTimeoutMs: 3_600_000 } })
  const { id, pools, tenants } = house
  const old = await targetOf(house, id)
  const lease = await pools.acquire({ tenantId: id, generation: 1 }, caller())
  await lease.db.transaction(async (tx) => {
    await tx.query(sql`select 1`)
    await tenants.rotateCredential(id)
    while ((await canLogIn(old.user)) !== false) await new Promise(setImmediate)
    await rejectsLike(t, openConnection(old, AbortSignal.timeout(10_000)), { code: '28000' })
    t.strictSame([...(await tx.query(sql`select current_user::text as name`))], [{ name: old.user }])
    t.equal(await userOf(house, id), roleName(id, 'green'))
  })
  t.equal((await tenants.get(id)).job?.step, 'drain')
  lease.release()
  await ended(house, id)
  t.equal(await canLogIn(old.user), undefined)
  t.strictSame(house.failures, [])
})

t.test('where the old login cannot be kept out, the rotation goes on and drops it', async (t) => {
  let old = ''
  const failed = Promise.withResolvers<void>()
  let failures = 0
  const house = await withTenant(t, 'Not kept out', {
    limits: { drainTimeoutMs: 3_600_000 },
    wrapAdmin: (db) =>
      rewritingAdmin(db, (text) => {
        if (text !== `alter role ${old} nologin` || failures > 0) return text
        failures += 1
        failed.resolve()
        throw new Error('not now')
      }),
  })
  const { id, pools, tenants } = house
  old = roleName(id, 'blue')
  const lease = await pools.acquire({ tenantId: id, generation: 1 }, caller())
  await tenants.rotateCredential(id)
  await failed.promise
  t.equal(await canLogIn(old), true)
  lease.release()
  await ended(house, id)
  t.equal(await canLogIn(old), undefined)
  t.strictSame(house.failures, [])
})

t.test('nor does it matter to a rotation that the data server was not found for that', async (t) => {
  let isAway = false
  const failed = Promise.withResolvers<void>()
  const house = await withTenant(t, 'Not found', {
    limits: { drainTimeoutMs: 3_600_000 },
    wrapAdmin: (db) => {
      if (!isAway) return db
      failed.resolve()
      throw new Error('not now')
    },
  })
  const { id, pools, tenants } = house
  const lease = await pools.acquire({ tenantId: id, generation: 1 }, caller())
  await tenants.rotateCredential(id)
  isAway = true
  await failed.promise
  isAway = false
  lease.release()
  await ended(house, id)
  t.equal(await canLogIn(roleName(id, 'blue')), undefined)
  t.strictSame(house.failures, [])
})

t.test('whoever holds an older snapshot of the tenant is served, whenever he comes', async (t) => {
  const old = { tenantId: '', generation: 1 }
  const moments: string[] = []
  const house = await withTenant(t, 'Snapshot', {
    afterStep: async (kind, step) => {
      if (kind !== 'rotate') return
      // As a process that has not heard of the flip: nothing resident, and a stale generation.
      const name = await house.pools.use(old, caller(), async (db) => {
        const [row] = await db.query<{ name: string }>(sql`select current_user as name`)
        return row?.name
      })
      moments.push(`${step}: ${name?.slice(0, 2)}`)
      await house.pools.evict(old.tenantId, 'operator')
    },
  })
  old.tenantId = house.id
  await house.tenants.rotateCredential(house.id)
  await ended(house, house.id)
  while (moments.length < 7) await new Promise(setImmediate)
  t.strictSame(moments, [
    'begin: tb',
    'login: tb',
    'credential: tb',
    'check: tb',
    'flip: tg',
    'drain: tg',
    'retire: tg',
  ])
  t.strictSame(house.failures, [])
})

t.test('one of many rotations at once is done, the others are told so', async (t) => {
  const house = await withTenant(t, 'Race')
  const second = await openHouse(t, { url })
  const outcomes = await Promise.allSettled(
    [house, second, house, second].map(({ tenants }) => tenants.rotateCredential(house.id)),
  )
  t.equal(outcomes.filter((each) => each.status === 'fulfilled').length, 1)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') like(t, outcome.reason, { code: 'TENANT_BUSY', status: 409 })
  }
  await ended(house, house.id)
  like(t, await house.tenants.get(house.id), { colour: 'green', generation: 2 })
  t.strictSame(await traces(house, house.id), WHOLE)
})

t.test('other work on the tenant and a rotation keep out of each other’s way', async (t) => {
  const house = await withTenant(t, 'Contended')
  const { id, pools, tenants } = house
  const lease = await pools.acquire({ tenantId: id, generation: 1 }, caller())
  await tenants.rotateCredential(id)
  await rejectsLike(t, tenants.rotateCredential(id), { code: 'TENANT_BUSY', retryAfterSeconds: 1 })
  await rejectsLike(t, tenants.delete(id), { code: 'TENANT_BUSY' }, 'the old login is still in use')
  like(t, await tenants.get(id), { status: 'active' }, 'and nothing has changed')
  like(t, await tenants.suspend(id), { status: 'suspended', generation: 3 })
  like(t, await tenants.update(id, { quota: { connections: 2 } }), { generation: 4 })
  lease.release()
  await ended(house, id)
  like(t, await tenants.rotateCredential(id), { status: 'suspended', colour: 'blue', generation: 5 })
  await ended(house, id)
  await tenants.resume(id)
  t.equal(await userOf(house, id), roleName(id, 'blue'))
  await tenants.delete(id)
  await rejectsLike(t, tenants.rotateCredential(id), { code: 'TENANT_STATUS_CONFLICT' })
  await ended(house, id)
  await rejectsLike(t, tenants.rotateCredential(id), {
    code: 'TENANT_STATUS_CONFLICT',
    message: /is deleted/,
  })
  t.strictSame(await traces(house, id), { ...NOTHING, tenants: 1 })
})

t.test(
  'a suspension in the midst of a rotation stays, and so does a tenant that is being made',
  async (t) => {
    let isHalfMade = false
    let refused: unknown
    const house = await withTenant(t, 'Suspended meanwhile', {
      afterStep: async (kind, step) => {
        if (kind === 'rotate' && step === 'check') await house.tenants.suspend(house.id)
        if (kind === 'onboard' && step === 'check' && isHalfMade) {
          const [made] = (await house.tenants.list({ limit: 1, status: 'provisioning' })).records
          refused = await house.tenants.rotateCredential(made?.id ?? '').catch((error: unknown) => error)
        }
      },
    })
    like(t, await house.tenants.rotateCredential(house.id), { status: 'suspended', generation: 3 })
    await ended(house, house.id)
    t.strictSame(await traces(house, house.id), WHOLE)
    isHalfMade = true
    await t.resolves(house.tenants.onboard({ name: 'Half made' }))
    like(t, refused, { code: 'TENANT_STATUS_CONFLICT' })
  },
)

for (const [method, code] of [
  ['provision', 'SERVER_UNAVAILABLE'],
  ['check', 'INTERNAL'],
] as const) {
  t.test(`a rotation whose ${method} fails changes nothing`, async (t) => {
    let isBroken = false
    const house = await withTenant(t, `Unlucky ${method}`, {
      wrap: (placement) =>
        new Proxy(placement, {
          get: (target, name: keyof typeof placement) => {
            if (name !== method || !isBroken) return target[name]
            return async (...args: never[]) => {
              // The step does its work, and fails after that.
              await (target[name] as (...args: never[]) => Promise<unknown>).apply(target, args)
              throw new LessorError(code)
            }
          },
        }),
    })
    const { id, tenants } = house
    const before = await tenants.get(id)
    isBroken = true
    await rejectsLike(t, tenants.rotateCredential(id), { code })
    isBroken = false
    t.strictSame(await tenants.get(id), before)
    t.strictSame(await traces(house, id), WHOLE)
    t.strictSame(house.failures, [])
    t.equal(await userOf(house, id), roleName(id, 'blue'))
    like(t, await tenants.rotateCredential(id), { colour: 'green' }, 'the next one succeeds')
    await ended(house, id)
  })
}

t.test('a new login that does not work is found out before the flip', async (t) => {
  let isBroken = false
  const house = await withTenant(t, 'No login', {
    connect: async (target, signal) => {
      if (isBroken) throw Object.assign(new Error('refused'), { code: '28P01' })
      return openConnection(target, signal)
    },
  })
  isBroken = true
  await rejectsLike(t, house.tenants.rotateCredential(house.id), { code: 'POOL_OPEN_FAILED', status: 503 })
  like(t, await house.tenants.get(house.id), { colour: 'blue', generation: 1, job: null })
  t.strictSame(await traces(house, house.id), WHOLE)
  t.equal(house.pools.used('default'), 0)
})

t.test('a rotation that finds the data server down is refused, and leaves no job', async (t) => {
  const proxy = await TcpProxy.start(t, url)
  const house = await withTenant(t, 'Down', { serverUrl: proxy.url(url) })
  const { id, tenants } = house
  const before = await tenants.get(id)
  proxy.refuse()
  proxy.reset()
  await rejectsLike(t, tenants.rotateCredential(id), { code: 'SERVER_UNAVAILABLE', status: 503 })
  t.strictSame(await tenants.get(id), before)
  await proxy.heal()
  like(t, await tenants.rotateCredential(id), { colour: 'green' })
  await ended(house, id)
})

for (const step of ['login', 'credential', 'check', 'flip', 'drain'] as const) {
  t.test(`a data server that goes down after the step "${step}" does not leave a half`, async (t) => {
    const proxy = await TcpProxy.start(t, url)
    let isDown = false
    const house = await withTenant(t, `Gone after ${step}`, {
      serverUrl: proxy.url(url),
      jobClaimMs: 100,
      afterStep: (kind, each) => {
        if (kind !== 'rotate' || each !== step || isDown) return
        isDown = true
        proxy.refuse()
        proxy.reset()
      },
    })
    const { id, tenants } = house
    // The last thing that needs the data server before the flip is the check.
    const isFlipped = step !== 'login' && step !== 'credential'
    if (isFlipped) like(t, await tenants.rotateCredential(id), { colour: 'green' })
    else await rejectsLike(t, tenants.rotateCredential(id), { code: 'POOL_OPEN_FAILED', status: 503 })
    while ((await tenants.get(id)).job?.error === null) await new Promise(setImmediate)
    like(t, await tenants.get(id), { job: { kind: 'rotate', error: 'SERVER_UNAVAILABLE' } })
    await proxy.heal()
    while ((await tenants.get(id)).job !== null) await tenants.recover()
    const now = isFlipped
      ? ({ colour: 'green', generation: 2 } as const)
      : ({ colour: 'blue', generation: 1 } as const)
    like(t, await tenants.get(id), now)
    t.strictSame(await traces(house, id), WHOLE)
    t.equal(await userOf(house, id), roleName(id, now.colour))
  })
}

t.test('an undoing that fails is left to recovery, and shows', async (t) => {
  let isDown = false
  const house = await withTenant(t, 'Stuck', {
    jobClaimMs: 50,
    wrap: (placement) =>
      new Proxy(placement, {
        get: (target, name: keyof typeof placement) =>
          isDown && (name === 'check' || name === 'withdraw')
            ? () => Promise.reject(new LessorError('SERVER_UNAVAILABLE'))
            : target[name],
      }),
  })
  const { id, tenants } = house
  isDown = true
  await rejectsLike(t, tenants.rotateCredential(id), { code: 'SERVER_UNAVAILABLE' })
  like(t, await tenants.get(id), { job: { kind: 'rotate', step: 'check', error: 'SERVER_UNAVAILABLE' } })
  t.equal(await userOf(house, id), roleName(id, 'blue'), 'the tenant works on')
  like(t, house.failures, [[{ kind: 'rotate' }, { code: 'SERVER_UNAVAILABLE' }]])
  isDown = false
  while ((await tenants.recover()) === 0) await new Promise(setImmediate)
  like(t, await tenants.get(id), { colour: 'blue', generation: 1, job: null })
  t.strictSame(await traces(house, id), WHOLE)
})

t.test('an end that fails is tried again, and ends', async (t) => {
  let isDown = true
  const house = await withTenant(t, 'Stubborn', {
    jobClaimMs: 50,
    wrap: (placement) =>
      new Proxy(placement, {
        get: (target, name: keyof typeof placement) =>
          isDown && name === 'withdraw'
            ? () => Promise.reject(new LessorError('SERVER_UNAVAILABLE'))
            : target[name],
      }),
  })
  const { id, tenants, failures } = house
  await tenants.rotateCredential(id)
  while (failures.length === 0) await new Promise(setImmediate)
  like(t, await traces(house, id), { roles: 2, credentials: 2, jobs: 1 })
  isDown = false
  while ((await tenants.recover()) === 0) await new Promise(setImmediate)
  like(t, await tenants.get(id), { colour: 'green', generation: 2, job: null })
  t.strictSame(await traces(house, id), WHOLE)
})

t.test('a holder that was thought dead cannot flip what was undone, and leaves nothing', async (t) => {
  const other = await openHouse(t, { url })
  const house = await withTenant(t, 'Slow', {
    afterStep: async (kind, step) => {
      if (kind !== 'rotate' || step !== 'login') return
      await other.db.query(sql`
        update lessor.jobs set claimed_until = now() - interval '1 second' where tenant_id = ${house.id}`)
      t.equal(await other.tenants.recover(), 1)
      t.strictSame(await traces(other, house.id), WHOLE)
      // As if its own step had come after that.
      await (await other.servers.admin('default')).script(`create role ${roleName(house.id, 'green')} login`)
    },
  })
  await rejectsLike(t, house.tenants.rotateCredential(house.id), {
    code: 'CONTROL_UNAVAILABLE',
    cause: { name: 'ClaimLostError' },
  })
  like(t, await house.tenants.get(house.id), { colour: 'blue', generation: 1, job: null })
  t.strictSame(await traces(house, house.id), WHOLE)
})

for (const committed of [true, false]) {
  t.test(
    `a connection lost in the commit of the flip, which was ${committed ? '' : 'not '}done`,
    async (t) => {
      let isFlip = false
      const lost = new LessorError('CONTROL_UNAVAILABLE')
      const house = await withTenant(t, `commit ${committed}`, {
        afterStep: (_kind, step) => {
          isFlip = step === 'check'
        },
        wrapDb: (db) => ({
          announce: (channel, payload) => db.announce(channel, payload),
          query: (statement) => db.query(statement),
          script: (text) => db.script(text),
          transaction: async (fn) => {
            const isLost = isFlip
            isFlip = false
            const result = await db.transaction(async (tx) => {
              const value = await fn(tx)
              if (isLost && !committed) throw lost
              return value
            })
            if (isLost) throw lost
            return result
          },
        }),
      })
      isFlip = false
      const { id, tenants } = house
      if (committed) like(t, await tenants.rotateCredential(id), { colour: 'green', generation: 2 })
      else await rejectsLike(t, tenants.rotateCredential(id), lost)
      await ended(house, id)
      like(t, await tenants.get(id), { colour: committed ? 'green' : 'blue' })
      t.strictSame(await traces(house, id), WHOLE)
      t.strictSame(house.failures, [])
    },
  )
}

t.test('the end of the old login waits for all processes, but not for ever', async (t) => {
  let settle = () => {}
  const house = await withTenant(t, 'Elsewhere', {
    settleTimeoutMs: 200,
    changes: {
      publish: async () => 7n,
      settled: (version, signal) =>
        new Promise((resolve, reject) => {
          t.equal(version, 7n)
          settle = resolve
          signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        }),
    },
  })
  const { id, tenants } = house
  await tenants.rotateCredential(id)
  like(t, await traces(house, id), { roles: 2, credentials: 2 })
  settle()
  await ended(house, id)
  t.strictSame(house.overdue, [])
  await tenants.rotateCredential(id)
  await ended(house, id)
  like(t, house.overdue, [{ kind: 'rotate', tenantId: id }])
  t.strictSame(await traces(house, id), WHOLE)
  t.strictSame(house.failures, [])
})

t.test('a process that closes leaves the waiting to another one, at once', async (t) => {
  const first = await withTenant(t, 'Closing', {
    changes: {
      publish: async () => 1n,
      settled: (_version, signal) =>
        new Promise((_resolve, reject) => {
          if (signal.aborted) reject(signal.reason)
          signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        }),
    },
    settleTimeoutMs: 60_000,
  })
  const other = await openHouse(t, { url })
  await first.tenants.rotateCredential(first.id)
  await first.tenants.close()
  like(t, await traces(other, first.id), { roles: 2, jobs: 1 })
  while ((await other.tenants.recover()) === 0) await new Promise(setImmediate)
  like(t, await other.tenants.get(first.id), { colour: 'green', job: null })
  t.strictSame(await traces(other, first.id), WHOLE)
})

t.test('a change of the flip is published with it and not without it', async (t) => {
  const house = await withTenant(t, 'Told')
  const published = async () => {
    const rows = await house.db.query<{ version: string }>(sql`
      select version from lessor.changes where kind = 'rotation' and tenant_id = ${house.id}`)
    return rows.length
  }
  await house.tenants.rotateCredential(house.id)
  t.equal(await published(), 1)
  await ended(house, house.id)
  t.equal(await published(), 1)
})
