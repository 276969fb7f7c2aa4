import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { isMigrated, migrate, readMigrations } from '../../src/control/migrate.ts'
import { ident, sql } from '../../src/pool/statement.ts'
import { insertBlock } from '../../src/tenants/login-block-store.ts'
import { findTenant } from '../../src/tenants/tenant-store.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'

async function open(t: Test) {
  const { url } = await testDatabase(t)
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  return { url, db }
}

async function files(t: Test, contents: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), 'lessor-migrations-'))
  t.teardown(() => rm(folder, { recursive: true }))
  for (const [name, text] of Object.entries(contents)) await writeFile(join(folder, name), text)
  return readMigrations(pathToFileURL(`${folder}/`))
}

t.test('the control migrations run once, and a second run does nothing', async (t) => {
  const { db } = await open(t)
  const migrations = await readMigrations()
  t.equal(await isMigrated(db, migrations), false)
  sameRows(t, await migrate(db, migrations), migrations)
  t.equal(await isMigrated(db, migrations), true)
  sameRows(t, await migrate(db, migrations), [])
  like(t, await db.query(sql`select name from lessor.namespaces`), [{ name: 'default' }])
})

t.test(
  'a control database from before blocked logins is brought up, with its tenants as they were',
  async (t) => {
    const { db } = await open(t)
    const migrations = await readMigrations()
    const before = migrations.filter(({ version }) => version < 12)
    t.strictSame(
      migrations.slice(before.length, before.length + 1).map(({ name }) => name),
      ['000012-login-blocks'],
    )
    await migrate(db, before)
    await db.query(
      sql`insert into lessor.servers (name, host, port, database, tls) values ('default', 'db', 5432, 'lessor', 'disable')`,
    )
    const id = '3f2b8c1e-0000-4000-8000-000000000001'
    await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status)
    select ${id}, id, 'acme', 'acme', 'role', 'default', 'active' from lessor.namespaces`)
    await db.query(sql`
    insert into lessor.credentials (tenant_id, colour, envelope, key_id, generation)
    values (${id}, 'blue', '\\x00', 'one', 1)`)
    t.equal((await migrate(db, migrations)).length, migrations.length - before.length)
    t.equal((await findTenant(db, id))?.block, null)
    t.equal(await insertBlock(db, { tenantId: id, colour: 'blue', reason: 'locks' }), true)
    t.equal(await insertBlock(db, { tenantId: id, colour: 'blue', reason: 'locks' }), false)
    t.equal(await insertBlock(db, { tenantId: id, colour: 'green', reason: 'locks' }), false)
    t.equal((await findTenant(db, id))?.block?.reason, 'locks')
    await db.query(sql`delete from lessor.credentials where tenant_id = ${id}`)
    t.equal((await findTenant(db, id))?.block, null, 'it goes with the credential')
  },
)

t.test('many services that start at once run each migration once', async (t) => {
  const { url } = await testDatabase(t)
  const migrations = await files(t, {
    '000001-table.sql': 'create table ran (version integer)',
    '000002-slow.sql': 'insert into ran values (2); select pg_sleep(2.2)',
    '000003-last.sql': 'insert into ran values (3)',
  })
  const starters = Array.from({ length: 6 }, () => new ControlDatabase({ url, statementTimeoutMs: 2_000 }))
  t.teardown(() => Promise.all(starters.map((db) => db.close())))
  const ran = await Promise.all(starters.map((db) => migrate(db, migrations)))
  t.strictSame(
    ran
      .flat()
      .map((each) => each.version)
      .sort(),
    [1, 2, 3],
  )
  const [db] = starters
  sameRows(t, await db?.query(sql`select version from ran order by version`), [
    { version: 2 },
    { version: 3 },
  ])
})

t.test('a migration that fails leaves nothing, and the next start runs it', async (t) => {
  const { db } = await open(t)
  const good = { '000001-a.sql': 'create table a (id integer)' }
  const broken = await files(t, {
    ...good,
    '000002-b.sql': 'create table b (id integer); select 1 / 0',
  })
  await rejectsLike(t, migrate(db, broken), { code: '22012' })
  t.equal(await isMigrated(db, broken), false)
  like(t, await db.query(sql`select to_regclass('a') as a, to_regclass('b') as b`), [{ a: 'a', b: null }])
  const mended = await files(t, { ...good, '000002-b.sql': 'create table b (id integer)' })
  like(t, await migrate(db, mended), [{ version: 2 }])
})

t.test('a file that changed after it ran is refused; other line ends are no change', async (t) => {
  const { db } = await open(t)
  await migrate(db, await files(t, { '000001-a.sql': 'select 1;\nselect 2' }))
  sameRows(t, await migrate(db, await files(t, { '000001-a.sql': 'select 1;\r\nselect 2' })), [])
  await rejectsLike(t, migrate(db, await files(t, { '000001-a.sql': 'select 3' })), {
    name: 'MigrationError',
    message: /000001-a was changed after it ran/,
  })
})

t.test('a database that is newer than the code is refused before anything runs', async (t) => {
  const { db } = await open(t)
  const first = { '000001-a.sql': 'select 1' }
  await migrate(db, await files(t, { ...first, '000002-newer.sql': 'select 2' }))
  await rejectsLike(t, migrate(db, await files(t, first)), {
    name: 'MigrationError',
    message: /has migration 000002-newer.*run a newer version/,
  })
})

t.test(
  'code that may be older than the database leaves newer files alone, and misses no change',
  async (t) => {
    const { db } = await open(t)
    const first = { '000001-a.sql': 'select 1' }
    await migrate(db, await files(t, { ...first, '000002-newer.sql': 'select 2' }))
    sameRows(t, await migrate(db, await files(t, first), { acceptsNewer: true }), [])
    await rejectsLike(
      t,
      migrate(db, await files(t, { '000001-a.sql': 'select 3' }), { acceptsNewer: true }),
      {
        name: 'MigrationError',
        message: /000001-a was changed after it ran/,
      },
    )
  },
)

t.test('files are numbered without gaps', async (t) => {
  await rejectsLike(t, files(t, { '000001-a.sql': '', '000003-b.sql': '' }), {
    message: /should be number 2/,
  })
  await rejectsLike(t, files(t, { '1-a.sql': '' }), { message: /should be number 1/ })
})

t.test('a role without rights of its own sees nothing of the control database', async (t) => {
  const { url, db } = await open(t)
  await migrate(db, await readMigrations())
  const role = `walled_${new URL(url).pathname.slice(1)}`
  await db.query(sql`create role ${ident(role)} login password 'walled'`)
  t.teardown(() => db.query(sql`drop role ${ident(role)}`))
  const outside = new URL(url)
  outside.username = role
  outside.password = 'walled'
  const walled = new ControlDatabase({ url: outside.href })
  t.teardown(() => walled.close())
  const tables = await db.query<{ name: string }>(sql`
    select c.relname as name from pg_class c
    where c.relnamespace = 'lessor'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'S')`)
  t.ok(tables.length >= 8)
  for (const { name } of tables) {
    await rejectsLike(
      t,
      walled.query(sql`select * from lessor.${ident(name)}`),
      { code: '42501', message: /schema lessor/ },
      name,
    )
    const [row] = await db.query(sql`
      select has_table_privilege(${role}, ${`lessor.${name}`}, 'select, insert, update, delete, truncate, references, trigger') as any`)
    t.strictSame(row, { any: false }, name)
  }
})
