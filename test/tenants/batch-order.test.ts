import { randomUUID } from 'node:crypto'
import t from 'tap'
import { type Db, sql } from '../../src/pool/statement.ts'
import { insertActive } from '../../src/tenants/batch-store.ts'
import { parseTenantName } from '../../src/tenants/name.ts'
import { openControl, until } from '../control/helpers.ts'
import { rejectsLike } from '../support/like.ts'

/** Ends a transaction without a trace. */
class Undone extends Error {
  override readonly name = 'Undone'
}

t.test('batches with the same names, one the other way round, do not deadlock', async (t) => {
  const { db } = await openControl(t)
  const [namespace] = await db.query<{ id: string }>(sql`select id from lessor.namespaces`)
  const insert = (tx: Db, names: readonly string[]) =>
    insertActive(tx, {
      items: names.map((name) => ({ id: randomUUID(), name: parseTenantName(name) })),
      namespaceId: namespace?.id ?? '',
      placement: 'row',
      server: 'default',
      quota: {},
    })
  const waiting = async () =>
    (
      await db.query(sql`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
    ).length
  const names = Array.from({ length: 9 }, (_, i) => `tenant ${i}`)
  let batches: Promise<readonly ReadonlySet<string>[]> | undefined
  const first = db.transaction(async (tx) => {
    // In the midst of both; each has come there, or waits for the other one before it.
    await insert(tx, ['tenant 4'])
    batches = Promise.all(
      [names, names.toReversed()].map((each) => db.transaction((other) => insert(other, each))),
    )
    batches.catch(() => {})
    await until(async () => (await waiting()) === 2, 'both wait')
    throw new Undone()
  })
  await rejectsLike(t, first, { name: 'Undone' })
  const made = await batches
  t.strictSame(made?.map(({ size }) => size).sort(), [0, names.length])
  const rows = await db.query<{ name: string }>(sql`select name from lessor.tenants order by name`)
  t.strictSame(
    rows.map(({ name }) => name),
    names,
  )
})

t.test('of two items with one name the first has it', async (t) => {
  const { db } = await openControl(t)
  const [namespace] = await db.query<{ id: string }>(sql`select id from lessor.namespaces`)
  const ids = Array.from({ length: 3 }, () => randomUUID())
  const made = await insertActive(db, {
    items: ids.map((id, i) => ({ id, name: parseTenantName(['acme', 'Beta', 'ACME'][i] ?? '') })),
    namespaceId: namespace?.id ?? '',
    placement: 'row',
    server: 'default',
    quota: {},
  })
  t.strictSame(made, new Set(ids.slice(0, 2)))
})
