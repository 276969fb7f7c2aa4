import postgres from 'postgres'
import t from 'tap'
import { testedVersion } from '../postgres/environment.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { databaseUrl, ensureTemplate, withAdmin } from '../support/template.ts'

const file = await testDatabase(t)

t.test('a test gets an empty database of its own on the PostgreSQL of the run', async (t) => {
  const { url } = await testDatabase(t)
  t.not(url, file.url)
  await withAdmin(url, async (sql) => {
    const [row] = await sql<{ major: number; relations: bigint }[]>`
      select current_setting('server_version_num')::int / 10000 as major,
             (select count(*) from pg_class where relnamespace = 'public'::regnamespace) as relations`
    t.strictSame({ ...row }, { major: Number(testedVersion()), relations: '0' })
  })
})

t.test('a test can start from a migrated control database', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const rows = await withAdmin(url, (sql) => sql`select name from lessor.namespaces`)
  sameRows(t, [...rows], [{ name: 'default' }])
})

t.test('a test database is gone after its test, even when a connection was left open', async (t) => {
  let url = ''
  let left: postgres.Sql | undefined
  await t.test('leaves a connection open', async (t) => {
    url = (await testDatabase(t)).url
    left = postgres(url, { max: 1 })
    t.equal((await left`select 1`).length, 1)
  })
  await rejectsLike(
    t,
    withAdmin(url, (sql) => sql`select 1`),
    { code: '3D000' },
  )
  await left?.end()
})

t.test('makers of a template at once build it once, and clones have what was built', async (t) => {
  const name = `lessor_template_test_${process.pid}`
  let builds = 0
  const ensure = () =>
    ensureTemplate(file.url, name, async (url) => {
      builds++
      await withAdmin(url, (sql) => sql`create table built (id int)`)
    })
  await Promise.all([ensure(), ensure(), ensure()])
  t.equal(builds, 1)
  const clones = await Promise.all(
    [1, 2, 3, 4].map(async (n) => {
      const clone = `${name}_${n}`
      await withAdmin(file.url, (sql) => sql`create database ${sql(clone)} template ${sql(name)}`)
      const rows = await withAdmin(databaseUrl(file.url, clone), (sql) => sql`select count(*) from built`)
      await withAdmin(file.url, (sql) => sql`drop database ${sql(clone)}`)
      return rows.length
    }),
  )
  t.strictSame(clones, [1, 1, 1, 1])
  await withAdmin(file.url, (sql) => sql`drop database ${sql(name)}`)
})

t.test('a template whose build failed is built anew', async (t) => {
  const name = `lessor_template_failed_${process.pid}`
  await rejectsLike(
    t,
    ensureTemplate(file.url, name, async () => {
      throw new Error('cut')
    }),
    { message: 'cut' },
  )
  await ensureTemplate(file.url, name, async (url) => {
    await withAdmin(url, (sql) => sql`create table built (id int)`)
  })
  await withAdmin(file.url, (sql) => sql`drop database ${sql(name)}`)
})
