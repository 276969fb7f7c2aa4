import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { ControlDatabase } from '../src/control/control-database.ts'
import { sql } from '../src/pool/statement.ts'
import { generateVaultKeys } from '../src/vault/key-ring.ts'
import { testDatabase } from './support/database.ts'
import { Pooler } from './support/pooler.ts'
import { type Service, startService } from './support/service.ts'

// Control databases with which no process starts.

function start(t: Test, databaseUrl: string): Service {
  return startService(t, {
    directory: t.testdir(),
    environment: {
      DATABASE_URL: databaseUrl,
      OPERATOR_KEY: 'operator-key-for-the-tests-0123456789',
      VAULT_KEYS: generateVaultKeys(),
    },
  })
}

t.test('a pooler is refused in one sentence, and nothing is made behind it', async (t) => {
  const { url } = await testDatabase(t)
  const pooler = await Pooler.start(t, url, { mode: 'transaction', startup: 'ignore' })
  const service = start(t, pooler.url(url))
  t.equal(await service.exited, 1)
  t.equal(
    service.stderr(),
    'DATABASE_URL leads to a connection pooler such as PgBouncer, and not to PostgreSQL itself: a setting of the ' +
      'start-up packet does not reach the session. Lessor pools connections itself and binds sessions to tenants, so ' +
      'no other pooler may stand between. Give the address of the server itself.\n',
  )
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  t.equal((await db.query(sql`select from pg_namespace where nspname = 'lessor'`)).length, 0)
})

t.test('a data server of another installation is refused in one sentence, and left as it is', async (t) => {
  const { url } = await testDatabase(t)
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  const mark = '0b5e6f0e-6a52-4c1f-9f3c-1f7e0a9d8c11'
  await db.script('create schema lessor')
  await db.script(await readFile(new URL('../sql/walls/000006-mark.sql', import.meta.url), 'utf8'))
  await db.query(sql`insert into lessor.database_mark (id, installation) values (${mark}, gen_random_uuid())`)
  const service = start(t, url)
  t.equal(await service.exited, 1)
  t.equal(
    service.stderr(),
    'DATABASE_URL leads to a database that another installation of Lessor has entered as a data server (its mark is ' +
      `${mark}). Set it to the control database, or to an empty one. If that installation is gone for good, "delete ` +
      'from lessor.database_mark" in that database frees it.\n',
  )
  t.strictSame(
    (
      await db.query<{ name: string }>(sql`
      select relname as name from pg_class
      where relnamespace = 'lessor'::regnamespace and relkind = 'r'`)
    ).map(({ name }) => name),
    ['database_mark'],
  )
})
