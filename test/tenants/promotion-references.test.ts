import { readFile } from 'node:fs/promises'
import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, sameRows } from '../support/like.ts'
import { withAdmin } from '../support/template.ts'
import { NOTHING, openHouse, traces } from './house.ts'
import { settled } from './promoted.ts'

const { url } = await testDatabase(t, { template: 'control' })
const house = await openHouse(t, { url })

/** The table of docs/sql.md, which refers to users. */
const [, notes = ''] =
  /^```sql\n(create table notes[\s\S]*?)^```/m.exec(await readFile('docs/sql.md', 'utf8')) ?? []
await withAdmin(url, async (admin) => {
  await admin.unsafe(`set search_path = app; ${notes}`)
  // One that refers to both.
  await admin.unsafe(`set search_path = app;
    create table replies (
      tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
      id integer not null,
      note uuid not null,
      author uuid not null,
      primary key (tenant_id, id),
      foreign key (tenant_id, note) references notes (tenant_id, id),
      foreign key (tenant_id, author) references users (tenant_id, id) on delete cascade
    );
    select lessor.protect('replies')`)
})

async function onboard(name: string) {
  const { tenant } = await house.tenants.onboard({ name, placement: 'row' })
  const { id, generation } = tenant
  await house.pools.use({ tenantId: id, generation }, new AbortController(), (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`
        insert into users (first_name, last_name) select 'Ada', 'Lovelace' from generate_series(1, 5)`)
      await tx.query(sql`insert into notes (user_id, kind, body) select id, 'a', 'b' from users`)
      await tx.query(sql`
        insert into replies (id, note, author) select row_number() over (), id, user_id from notes`)
    }),
  )
  return id
}

async function rowsOf(id: string) {
  const [row] = await house.db.query<{ counts: number[] }>(sql`
    select array[
      (select count(*) from app.users where tenant_id = ${id}::uuid),
      (select count(*) from app.notes where tenant_id = ${id}::uuid),
      (select count(*) from app.replies where tenant_id = ${id}::uuid)]::integer[] as counts`)
  return row?.counts
}

async function partitionsOf(id: string) {
  const rows = await house.db.query<{ name: string }>(sql`
    select relname::text as name from pg_class where strpos(relname, replace(${id}, '-', '')) > 0 and relkind = 'r' order by 1`)
  return rows.length
}

t.test('a promoted tenant is deleted though its shared tables refer to each other', async (t) => {
  const [id, other, promoted] = [await onboard('to go'), await onboard('stays'), await onboard('stays too')]
  for (const each of [id, promoted]) {
    await house.tenants.promote(each)
    await settled(house, each)
    t.equal(await partitionsOf(each), 3)
  }
  await house.tenants.delete(id)
  like(t, await settled(house, id), { status: 'deleted' })
  t.strictSame(await traces(house, id), { ...NOTHING, tenants: 1 })
  t.equal(await partitionsOf(id), 0)
  t.strictSame(house.failures, [])
  for (const each of [other, promoted]) t.strictSame(await rowsOf(each), [5, 5, 5])
  sameRows(
    t,
    await house.db.query(sql`
      select conname from pg_constraint where connamespace = 'app'::regnamespace and contype = 'f' and not convalidated`),
    [],
    'all foreign keys hold as before',
  )
})

t.test('a demoted one has its rows back, and is deleted as well when it is promoted again', async (t) => {
  const id = await onboard('to and fro')
  await house.tenants.promote(id)
  await settled(house, id)
  await house.tenants.demote(id)
  like(t, await settled(house, id), { partition: null, job: null })
  t.strictSame([await partitionsOf(id), await rowsOf(id)], [0, [5, 5, 5]])
  await house.tenants.promote(id)
  await settled(house, id)
  t.strictSame(await rowsOf(id), [5, 5, 5])
  await house.tenants.delete(id)
  like(t, await settled(house, id), { status: 'deleted' })
  t.equal(await partitionsOf(id), 0)
  t.strictSame(house.failures, [])
})
