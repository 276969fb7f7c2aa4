import fc from 'fast-check'
import t, { type Test } from 'tap'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { testApp } from '../support/app.ts'
import { holds } from '../support/holds.ts'

// Tenants of placement `row` share one connection here. Whatever happens on it in between, each of them finds its
// own rows and nobody else's.

const TENANTS = 3
const ROWS_OF = [2, 3, 5] as const
const ROWS = sql`select tenant_id, first_name from users`

/** Deed is what one caller does; `rest` is run beside it when it is there. */
type Deed =
  | { readonly kind: 'read' | 'count' | 'write' | 'read twice in a transaction' }
  /** The server refuses it: a statement of its own, or one in a transaction. */
  | { readonly kind: 'fail' | 'fail in a transaction' | 'swallow a failure' }
  /** The caller goes away while it runs. */
  | { readonly kind: 'cancel' | 'cancel in a transaction' }
  /** The work itself throws. */
  | { readonly kind: 'throw in a transaction' }
  /** Its entry leaves the registry, before or during its work. */
  | { readonly kind: 'evict' | 'be evicted in a transaction' }

const KINDS: readonly Deed['kind'][] = [
  'read',
  'count',
  'write',
  'read twice in a transaction',
  'fail',
  'fail in a transaction',
  'swallow a failure',
  'cancel',
  'cancel in a transaction',
  'throw in a transaction',
  'evict',
  'be evicted in a transaction',
]

/** Codes that a deed may end with: the server's refusals and cancels, and callers that have gone. */
const ALLOWED = new Set(['22012', '57014', 'CLIENT_CLOSED_REQUEST', 'STATEMENT_TIMEOUT', 'thrown'])

async function open(t: Test, placement: 'row' | 'role') {
  const { lessor } = await testApp(t, {
    ROW_MAX_CONNECTIONS: '1',
    POOL_MAX_CONNECTIONS: '1',
    ISOLATION_CRON: 'off',
    // What is cancelled lives as long where others have been sent behind it.
    STATEMENT_TIMEOUT_MS: '5000',
  })
  const ids: string[] = []
  for (let i = 0; i < TENANTS; i++) {
    const { tenant } = await lessor.tenants.onboard({ name: `tenant ${i}`, placement })
    ids.push(tenant.id)
    for (let row = 0; row < (ROWS_OF[i] ?? 0); row++) {
      await lessor.pools.use({ tenantId: tenant.id, generation: 1 }, new AbortController(), (db) =>
        db.query(sql`insert into users (first_name, last_name) values (${tenant.id}, 'x')`),
      )
    }
  }
  return { pools: lessor.pools, ids }
}

t.test(
  'row: tenants that share one connection find their own rows, whatever happens in between',
  async (t) => {
    await interleave(t, 'row', 25)
  },
)

t.test('role: tenants on one connection each find their own rows, whatever happens in between', async (t) => {
  await interleave(t, 'role', 8)
})

async function interleave(t: Test, placement: 'row' | 'role', numRuns: number): Promise<void> {
  const { pools, ids } = await open(t, placement)

  /** own reads all that it can see, and says what of it is not its own. */
  async function own(db: Db, who: number): Promise<void> {
    const rows = await db.query<{ tenant_id: string; first_name: string }>(ROWS)
    const strange = rows.filter(
      ({ tenant_id, first_name }) => tenant_id !== ids[who] || first_name !== ids[who],
    )
    if (strange.length > 0 || rows.length !== ROWS_OF[who]) {
      throw new Error(`tenant ${who} saw ${rows.length} rows, ${strange.length} of them of others`)
    }
  }

  async function act(who: number, kind: Deed['kind']): Promise<void> {
    const key = { tenantId: ids[who] ?? '', generation: 1 }
    const caller = new AbortController()
    const use = <T>(fn: (db: Db) => Promise<T>) => pools.use(key, caller, fn)
    switch (kind) {
      case 'read':
        return use((db) => own(db, who))
      case 'count':
        return use(async (db) => {
          const [row] = await db.query<{ n: number }>(sql`select count(*)::integer as n from users`)
          if (row?.n !== ROWS_OF[who]) throw new Error(`tenant ${who} counted ${row?.n}`)
        })
      case 'write':
        return use(async (db) => {
          const rows = await db.query<{ tenant_id: string }>(
            sql`update users set last_name = 'y' returning tenant_id`,
          )
          if (rows.length !== ROWS_OF[who]) throw new Error(`tenant ${who} wrote ${rows.length} rows`)
        })
      case 'read twice in a transaction':
        return use((db) =>
          db.transaction(async (tx) => {
            await own(tx, who)
            await own(tx, who)
          }),
        )
      case 'fail':
        return use(async (db) => void (await db.query(sql`select 1 / (count(*) * 0) from users`)))
      case 'fail in a transaction':
        return use((db) =>
          db.transaction(async (tx) => {
            await own(tx, who)
            await tx.query(sql`select 1 / (count(*) * 0) from users`)
          }),
        )
      case 'swallow a failure':
        return use((db) =>
          db.transaction(async (tx) => {
            await tx
              .transaction((inner) => inner.query(sql`select 1 / (count(*) * 0) from users`))
              .catch(() => {})
            await own(tx, who)
          }),
        )
      case 'cancel':
        return use(async (db) => {
          const slow = db.query(sql`select pg_sleep(30) from users`)
          setTimeout(() => caller.abort(), 150)
          await slow
        })
      case 'cancel in a transaction':
        return use((db) =>
          db.transaction(async (tx) => {
            await own(tx, who)
            const slow = tx.query(sql`select pg_sleep(30)`)
            setTimeout(() => caller.abort(), 150)
            await slow
          }),
        )
      case 'throw in a transaction':
        return use((db) =>
          db.transaction(async (tx) => {
            await own(tx, who)
            throw Object.assign(new Error('on purpose'), { code: 'thrown' })
          }),
        )
      case 'evict':
        await pools.evict(key.tenantId, 'operator')
        return use((db) => own(db, who))
      case 'be evicted in a transaction': {
        let evicted: Promise<unknown> = Promise.resolve()
        await use((db) =>
          db.transaction(async (tx) => {
            await own(tx, who)
            // It ends when the lease does.
            evicted = pools.evict(key.tenantId, 'operator')
            await own(tx, who)
          }),
        )
        await evicted
      }
    }
  }

  async function attempt(who: number, kind: Deed['kind']): Promise<void> {
    try {
      await act(who, kind)
    } catch (error) {
      if (!ALLOWED.has(errorCode(error) ?? '')) throw error
    }
  }

  const deed = fc.tuple(fc.nat(TENANTS - 1), fc.constantFrom(...KINDS))
  // Deeds in one group run at once, group after group.
  const plan = fc.array(fc.array(deed, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 })
  await holds(
    t,
    fc.asyncProperty(plan, async (groups) => {
      for (const group of groups) await Promise.all(group.map(([who, kind]) => attempt(who, kind)))
      // What is left over from all of it binds nobody.
      for (let who = 0; who < TENANTS; who++) await act(who, 'read')
    }),
    { numRuns },
  )
  t.pass('nobody saw a row of another tenant')
}
