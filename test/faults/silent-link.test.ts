import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { LIMITS, settle } from '../pool/fake-driver.ts'
import { testDatabase } from '../support/database.ts'
import { sameRows } from '../support/like.ts'
import { targetOf } from '../support/target.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

const { url } = await testDatabase(t)

/** The library as it is without a service, which has no request timeout, behind a proxy; one connection a pool. */
async function open(t: Test, isShared: boolean) {
  const proxy = await TcpProxy.start(t, url)
  const target = targetOf(proxy.url(url), { isShared })
  // The engine's clock stands still until the connection is silent, so that no statement is taken for a slow one.
  let stopped: number | undefined = Date.now()
  const clock = { now: () => stopped ?? Date.now() }
  const registry = new PoolRegistry({
    limits: {
      ...LIMITS,
      statementTimeoutMs: 500,
      maxConnections: 1,
      sharedMaxConnections: 1,
      acquireTimeoutMs: 60_000,
    },
    clock,
    connect: openConnection,
    locate: async () => target,
  })
  t.teardown(() => registry.destroy(new Error('test over')))
  const tenants = Array.from({ length: 6 }, () => randomUUID())
  /** In `row` each is of another tenant. */
  const use = <T>(n: number, fn: (db: Db) => Promise<T>) =>
    registry.use({ tenantId: tenants[isShared ? n : 0] ?? '', generation: 1 }, new AbortController(), fn)
  const ask = (n: number) =>
    use(n, async (db) => {
      const [row] = await db.query<{ n: number }>(sql`select ${n}::int as n`)
      return row?.n
    })
  for (const n of tenants.keys()) t.equal(await ask(n), n)
  /** Everything that is open falls silent for good; what is opened from now on does not. */
  const fallSilent = () => {
    const present = new Set(proxy.openings)
    proxy.inflict({ kind: 'silence' }, (opening) => present.has(opening))
  }
  const askAll = async (count: number) => {
    fallSilent()
    const work = Array.from({ length: count }, (_, n) => ask(n))
    await settle()
    stopped = undefined
    return codesOf(work)
  }
  const transact = async (fn: (tx: Db) => Promise<unknown>) => {
    const work = use(0, (db) =>
      db.transaction(async (tx) => {
        await tx.query(sql`select 1`)
        fallSilent()
        stopped = undefined
        return fn(tx)
      }),
    )
    return codesOf([work])
  }
  return { registry, ask, askAll, transact }
}

async function codesOf(work: readonly Promise<unknown>[]): Promise<readonly unknown[]> {
  const outcomes = await Promise.allSettled(work)
  return outcomes.map((each) =>
    each.status === 'fulfilled' ? 'ok' : (each.reason as { code?: unknown }).code,
  )
}

// Each takes as long as a server may take to obey; so all wait at once.
t.jobs = 10

for (const [placement, isShared] of [
  ['role', false],
  ['row', true],
] as const) {
  for (const count of [1, 2, 6]) {
    t.test(`${placement}: ${count} statements on a connection that falls silent are answered`, async (t) => {
      const { ask, askAll, registry } = await open(t, isShared)
      sameRows(t, await askAll(count), [
        'STATEMENT_TIMEOUT',
        ...Array.from({ length: count - 1 }, () => 'CONNECTION_LOST'),
      ])
      t.equal(await ask(0), 0)
      t.equal(registry.counters().connectionsOpened, 2)
    })
  }

  t.test(`${placement}: a transaction whose connection falls silent is told`, async (t) => {
    const { ask, transact } = await open(t, isShared)
    const outcome = await transact((tx) => Promise.all([tx.query(sql`select 2`), tx.query(sql`select 3`)]))
    sameRows(t, outcome, ['STATEMENT_TIMEOUT'])
    t.equal(await ask(0), 0)
  })

  t.test(`${placement}: a commit on a connection that has fallen silent is told`, async (t) => {
    const { ask, transact } = await open(t, isShared)
    sameRows(t, await transact(async () => {}), ['STATEMENT_TIMEOUT'])
    t.equal(await ask(0), 0)
  })
}
