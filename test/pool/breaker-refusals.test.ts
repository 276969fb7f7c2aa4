import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import { CLOSED } from '../../src/pool/breaker.ts'
import { Breakers } from '../../src/pool/breakers.ts'
import { newCounters } from '../../src/pool/counters.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { rejectsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

const TENANTS = ['a', 'b', 'c', 'd', 'e']

function setUp() {
  const counters = newCounters()
  const limits = { breakerBaseMs: 500, breakerMaxMs: 4_000 }
  const breakers = new Breakers({ clock: new FakeClock(), limits, counters, random: () => 0.5 })
  const fail = (tenantId: string, fields: object) =>
    breakers.failed(
      tenantId,
      's',
      new LessorError('POOL_OPEN_FAILED', 'no', { cause: Object.assign(new Error('no'), fields) }),
    )
  return { breakers, counters, fail }
}

/** What a server that is well says to one login, whoever's it is. */
const REFUSALS = [
  { code: '28000' },
  { code: '28P01' },
  { code: '3D000' },
  { code: '42501' },
  { code: 'SCRAM_REFUSED' },
  { code: '53300', routine: 'InitializeSessionUserId' },
  { code: '22023', isAuthenticated: true },
]

for (const fields of REFUSALS) {
  const what = Object.values(fields).join(', ')
  t.test(`however many tenants are refused (${what}), their data server gets no pause`, async (t) => {
    const { breakers, counters, fail } = setUp()
    for (const tenantId of TENANTS) fail(tenantId, fields)
    t.strictSame(breakers.server('s'), CLOSED)
    t.equal(breakers.isWary('s'), false)
    t.equal(breakers.refusal('z', 's'), undefined)
    t.strictSame(
      TENANTS.map((tenantId) => breakers.refusal(tenantId, 's')?.code),
      TENANTS.map(() => 'TENANT_UNAVAILABLE'),
    )
    t.strictSame(
      [counters.openedForTenant, counters.openedForServer, counters.refusedByServer],
      [TENANTS.length, 0, 0],
    )
  })

  t.test(`failures before a refusal (${what}) do not count any more`, async (t) => {
    const { breakers, fail } = setUp()
    for (const tenantId of ['a', 'b']) fail(tenantId, { code: 'ECONNREFUSED' })
    fail('c', fields)
    for (const tenantId of ['d', 'e']) fail(tenantId, { code: 'ECONNREFUSED' })
    t.equal(breakers.refusal('z', 's'), undefined)
    fail('f', { code: 'ECONNREFUSED' })
    t.equal(breakers.refusal('z', 's')?.code, 'SERVER_UNAVAILABLE')
  })
}

t.test('what any tenant would have met gives the data server a pause, after the third', async (t) => {
  for (const fields of [
    { code: 'ECONNREFUSED' },
    { code: '57P03' },
    { code: 'NO_PRIMARY' },
    { code: '53300' },
    { code: '53300', routine: 'CheckMyDatabase' },
    { code: '53200', isAuthenticated: true },
    { code: '57P01', isAuthenticated: true },
    { code: '22023' },
  ]) {
    const { breakers, counters, fail } = setUp()
    const paused = TENANTS.slice(0, 3).map((tenantId) => {
      fail(tenantId, fields)
      return breakers.refusal('z', 's')?.code
    })
    t.strictSame(paused, [undefined, undefined, 'SERVER_UNAVAILABLE'], Object.values(fields).join(', '))
    t.equal(counters.openedForServer, 1)
  }
})

t.test('tenants without a database of theirs keep no neighbour from its own', async (t) => {
  for (const code of ['3D000', '42501']) {
    const driver = new FakeDriver()
    const registry = new PoolRegistry({
      limits: LIMITS,
      clock: new FakeClock(),
      hasTimer: false,
      connect: driver.connect,
      locate: async ({ tenantId }) => target(tenantId),
    })
    const use = (tenantId: string) =>
      registry.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
        db.query<{ user: string }>(sql`select 1`),
      )
    for (const tenantId of TENANTS) {
      driver.failNext = Object.assign(new Error('no'), { code })
      await rejectsLike(t, use(tenantId), { code: 'POOL_OPEN_FAILED' })
    }
    const neighbour = use('z')
    await settle()
    for (const connection of driver.live) connection.answer()
    t.equal((await neighbour)[0]?.user, 'z')
    t.strictSame(registry.counters().breakers.opened, { tenant: TENANTS.length, server: 0 })
    await registry.close()
  }
})
