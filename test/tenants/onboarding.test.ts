import { randomUUID } from 'node:crypto'
import t from 'tap'
import { findKeys } from '../../src/access/key-store.ts'
import { LessorError } from '../../src/errors.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import { findLogin } from '../../src/tenants/credential-store.ts'
import { openLogin } from '../../src/tenants/login.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { NOTHING, openHouse, ROLE_LIMITS, rolePlacement, traces } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

const caller = () => new AbortController()

t.test('a new tenant can work at once, through its own login', async (t) => {
  const { db, tenants, pools, vault, servers, failures } = await openHouse(t, { url })
  const { tenant, api_key: apiKey } = await tenants.onboard({ name: '  Ünïcode & Söhne ' })
  like(t, tenant, {
    name: 'Ünïcode & Söhne',
    namespace: 'default',
    placement: 'role',
    server: 'default',
    status: 'active',
    quota: {},
  })
  t.match(apiKey.key, /^lsr_[0-9a-f]/)
  like(t, await findKeys(db, [apiKey.id]), [{ tenantId: tenant.id, revokedAt: null }])
  const user = await pools.use({ tenantId: tenant.id, generation: 1 }, caller(), async (db) => {
    const [row] = await db.query<{ name: string }>(sql`select current_user as name`)
    return row?.name
  })
  t.equal(user, `tb_${tenant.id.replaceAll('-', '')}`)
  const sealed = await findLogin(db, tenant.id)
  t.ok(
    sealed?.envelope &&
      !Buffer.from(sealed.envelope)
        .toString('latin1')
        .includes(user ?? '?'),
  )
  const target =
    sealed && (await openLogin({ vault, servers, placements: new Map([['role', rolePlacement()]]) }, sealed))
  t.ok((target?.password.reveal().length ?? 0) >= 43, '256 random bits')
  t.strictSame(failures, [])
})

t.test('a taken name is refused without touching the tenant that has it', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant } = await house.tenants.onboard({ name: 'Acme' })
  const before = await house.tenants.get(tenant.id)
  for (const name of ['Acme', 'ACME', ' acme ', 'ＡＣＭＥ']) {
    await rejectsLike(t, house.tenants.onboard({ name }), { code: 'TENANT_NAME_TAKEN' }, name)
  }
  t.strictSame(await house.tenants.get(tenant.id), before)
  t.strictSame(await traces(house, tenant.id), { ...NOTHING, roles: 1, tenants: 1, credentials: 1, keys: 1 })
  await house.namespaces.create('other')
  await t.resolves(
    house.tenants.onboard({ name: 'Acme', namespace: 'OTHER' }),
    'in another namespace it is free',
  )
})

t.test('of many onboardings of one name at once exactly one succeeds', async (t) => {
  const first = await openHouse(t, { url })
  const second = await openHouse(t, { url })
  const outcomes = await Promise.allSettled(
    [first, second, first, second, first, second].map(({ tenants }) => tenants.onboard({ name: 'Race' })),
  )
  t.equal(outcomes.filter((each) => each.status === 'fulfilled').length, 1)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') like(t, outcome.reason, { code: 'TENANT_NAME_TAKEN' })
  }
})

t.test('what cannot be offered is refused before anything is made', async (t) => {
  const house = await openHouse(t, { url, offers: ['role'] })
  const wrong: [request: Parameters<typeof house.tenants.onboard>[0], code: string][] = [
    [{ name: ' ' }, 'INVALID_REQUEST'],
    [{ name: 'x'.repeat(201) }, 'INVALID_REQUEST'],
    [{ name: 'a\u0000b' }, 'INVALID_REQUEST'],
    [{ name: 'a\nb' }, 'INVALID_REQUEST'],
    [{ name: 'a\u2028b' }, 'INVALID_REQUEST'],
    [{ name: '\ud800' }, 'INVALID_REQUEST'],
    [{ name: 'n', namespace: 'nowhere' }, 'NAMESPACE_NOT_FOUND'],
    [{ name: 'n', placement: 'database' }, 'PLACEMENT_UNAVAILABLE'],
    [{ name: 'n', placement: 'database', server: 'nowhere' }, 'PLACEMENT_UNAVAILABLE'],
    [{ name: 'n', server: 'nowhere' }, 'SERVER_NOT_FOUND'],
    [{ name: 'n', quota: { connections: 5 } }, 'INVALID_REQUEST'],
    [{ name: 'n', quota: { connections: 0 } }, 'INVALID_REQUEST'],
    [{ name: 'n', quota: { weight: 0 } }, 'INVALID_REQUEST'],
    [{ name: 'n', quota: { weight: 101 } }, 'INVALID_REQUEST'],
    [{ name: 'n', quota: { weight: 2.5 } }, 'INVALID_REQUEST'],
  ]
  for (const [index, [request, code]] of wrong.entries()) {
    await rejectsLike(t, house.tenants.onboard(request), { code }, `request ${index}: ${code}`)
  }
  await t.resolves(
    house.tenants.onboard({ name: '😀'.repeat(200) }),
    'characters are counted, not UTF-16 units',
  )
  await t.resolves(house.tenants.onboard({ name: 'n', quota: { connections: 4 } }))
})

t.test('a step that fails takes back those before it and frees the name', async (t) => {
  const failing = {
    provision: 'SERVER_UNAVAILABLE',
    check: 'INTERNAL',
  } as const
  for (const [method, code] of Object.entries(failing)) {
    let tenantId = ''
    const house = await openHouse(t, {
      url,
      wrap: (placement) =>
        new Proxy(placement, {
          get: (target, name: keyof typeof placement) => {
            if (name !== method) return target[name]
            return async (...args: never[]) => {
              // The step does its work, and fails after that.
              await (target[name] as (...args: never[]) => Promise<unknown>).apply(target, args)
              throw new LessorError(code as 'INTERNAL')
            }
          },
        }),
      afterStep: async (_kind, step) => {
        if (step !== 'reserve') return
        const { records } = await house.tenants.list({ limit: 1, status: 'provisioning' })
        tenantId = records[0]?.id ?? ''
      },
    })
    await rejectsLike(
      t,
      house.tenants.onboard({ name: 'Unlucky' }, { scope: 's', key: 'k' }),
      { code },
      method,
    )
    t.not(tenantId, '')
    t.strictSame(await traces(house, tenantId), NOTHING, method)
    t.strictSame(house.failures, [], method)
  }
  const house = await openHouse(t, { url })
  await t.resolves(
    house.tenants.onboard({ name: 'Unlucky' }, { scope: 's', key: 'k' }),
    'name and key are free',
  )
})

t.test('a login that does not work is found out, and the error says so', async (t) => {
  const house = await openHouse(t, {
    url,
    connect: async () => {
      throw Object.assign(new Error('refused'), { code: '28P01' })
    },
  })
  await rejectsLike(t, house.tenants.onboard({ name: 'No login' }), { code: 'POOL_OPEN_FAILED' })
  sameRows(t, (await house.tenants.list({ limit: 1, status: 'provisioning' })).records, [])
})

t.test('a taking back that fails is left to recovery, which tries again', async (t) => {
  let broken = true
  const house = await openHouse(t, {
    url,
    jobClaimMs: 50,
    wrap: (placement) =>
      new Proxy(placement, {
        get: (target, name: keyof typeof placement) => {
          if (!broken || (name !== 'check' && name !== 'unprovision')) return target[name]
          return () => Promise.reject(new LessorError('SERVER_UNAVAILABLE'))
        },
      }),
  })
  await rejectsLike(t, house.tenants.onboard({ name: 'Stuck' }), { code: 'SERVER_UNAVAILABLE' })
  const [stuck] = (await house.tenants.list({ limit: 1, status: 'provisioning' })).records
  if (stuck === undefined) throw new Error('the reservation should still be there')
  like(t, await traces(house, stuck.id), { roles: 1, tenants: 1, jobs: 1 })
  like(t, house.failures, [[{ kind: 'onboard', tenantId: stuck.id }, { code: 'SERVER_UNAVAILABLE' }]])
  await rejectsLike(t, house.tenants.onboard({ name: 'Stuck' }), { code: 'TENANT_NAME_TAKEN' })
  like(t, await house.db.query(sql`select error from lessor.jobs where tenant_id = ${stuck.id}`), [
    { error: 'SERVER_UNAVAILABLE' },
  ])
  broken = false
  while ((await house.tenants.recover()) === 0) await new Promise(setImmediate)
  t.strictSame(await traces(house, stuck.id), NOTHING)
})

t.test('a holder that was thought dead cannot finish what was taken back', async (t) => {
  const other = await openHouse(t, { url })
  let tenantId = ''
  const house = await openHouse(t, {
    url,
    afterStep: async (_kind, step) => {
      if (step !== 'credential') return
      const { records } = await other.tenants.list({ limit: 1, status: 'provisioning' })
      tenantId = records[0]?.id ?? ''
      await other.db.query(sql`update lessor.jobs set claimed_until = now() - interval '1 second'`)
      t.equal(await other.tenants.recover(), 1)
      t.strictSame(await traces(other, tenantId), NOTHING)
      // As if its own step had come after that.
      await rolePlacement().provision(await other.servers.admin('default'), {
        tenantId,
        colour: 'blue',
        verifier: scramVerifier(randomPassword()),
        limits: ROLE_LIMITS,
      })
    },
  })
  await rejectsLike(t, house.tenants.onboard({ name: 'Slow' }), {
    code: 'CONTROL_UNAVAILABLE',
    cause: { name: 'ClaimLostError' },
  })
  t.strictSame(await traces(house, tenantId), NOTHING)
})

for (const committed of [true, false]) {
  t.test(
    `a connection lost in the last commit, which was ${committed ? '' : 'not '}done, is looked into`,
    async (t) => {
      let last = false
      const lost = new LessorError('CONTROL_UNAVAILABLE')
      const house = await openHouse(t, {
        url,
        afterStep: (_kind, step) => {
          last = step === 'key'
        },
        wrapDb: (db) => ({
          announce: (channel, payload) => db.announce(channel, payload),
          query: (statement) => db.query(statement),
          script: (text) => db.script(text),
          transaction: async (fn) => {
            const result = await db.transaction(async (tx) => {
              const value = await fn(tx)
              if (last && !committed) throw lost
              return value
            })
            if (last) throw lost
            return result
          },
        }),
      })
      const name = `commit ${committed}`
      const onboarding = house.tenants.onboard({ name })
      if (committed) {
        const { tenant } = await onboarding
        t.equal(tenant.status, 'active')
        t.strictSame(await traces(house, tenant.id), {
          ...NOTHING,
          roles: 1,
          tenants: 1,
          credentials: 1,
          keys: 1,
        })
      } else {
        await rejectsLike(t, onboarding, lost)
        sameRows(t, (await house.tenants.list({ limit: 1, status: 'provisioning' })).records, [])
      }
      t.strictSame(house.failures, [])
    },
  )
}

for (const outages of [2, 50]) {
  const outcome = outages === 2 ? 'is taken back all the same' : 'is left to whoever comes next'
  t.test(`a failed onboarding whose undo meets ${outages} outages ${outcome}`, async (t) => {
    const lost = new LessorError('CONTROL_UNAVAILABLE')
    let left = 0
    const away = async <T>(work: () => Promise<T>): Promise<T> => {
      if (left === 0) return work()
      left -= 1
      throw lost
    }
    const house = await openHouse(t, {
      url,
      afterStep: (_kind, step) => {
        if (step !== 'key' || left > 0) return
        left = outages
        throw lost
      },
      wrapDb: (db) => ({
        announce: (channel, payload) => db.announce(channel, payload),
        query: (statement) => away(() => db.query(statement)),
        script: (text) => db.script(text),
        transaction: (fn) => away(() => db.transaction(fn)),
      }),
    })
    const name = `outages ${outages}`
    await rejectsLike(t, house.tenants.onboard({ name }), lost)
    left = 0
    const { records } = await house.tenants.list({ limit: 10, name })
    if (outages === 2) {
      sameRows(t, records, [])
      t.strictSame(house.failures, [])
    } else {
      like(t, records, [{ status: 'provisioning', job: { kind: 'onboard', step: 'key' } }])
      t.ok(house.failures.length > 0, 'and it is told')
    }
  })
}

t.test('fifty onboardings at once all succeed, and try out logins within the budgets', async (t) => {
  let open = 0
  let most = 0
  const house = await openHouse(t, {
    url,
    limits: { serverMaxConnections: 3 },
    connect: async (target, signal) => {
      open += 1
      most = Math.max(most, open)
      const connection = await openConnection(target, signal)
      void connection.lost.then(() => {
        open -= 1
      })
      return connection
    },
  })
  const names = Array.from({ length: 50 }, (_, index) => `one of fifty ${index}`)
  const answers = await Promise.all(names.map((name) => house.tenants.onboard({ name })))
  t.equal(new Set(answers.map(({ tenant }) => tenant.id)).size, 50)
  t.strictSame(house.failures, [])
  t.equal(most, 3)
  t.equal(house.pools.used('default'), 0, 'and give back what they took')
})

t.test('closing waits for onboardings under way and refuses new ones', async (t) => {
  const house = await openHouse(t, { url })
  const running = house.tenants.onboard({ name: 'Last one' })
  const closing = house.tenants.close()
  await rejectsLike(t, house.tenants.onboard({ name: 'Too late' }), { code: 'SHUTTING_DOWN' })
  await closing
  like(t, await running, { tenant: { status: 'active' } })
})

t.test('an unknown tenant is none', async (t) => {
  const { tenants } = await openHouse(t, { url })
  const id = randomUUID()
  t.equal(await tenants.find(id), undefined)
  const calls = [
    () => tenants.get(id),
    () => tenants.suspend(id),
    () => tenants.resume(id),
    () => tenants.delete(id),
    () => tenants.update(id, { name: 'x' }),
  ]
  for (const call of calls) await rejectsLike(t, call(), { code: 'TENANT_NOT_FOUND' })
})
