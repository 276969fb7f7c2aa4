import { existsSync } from 'node:fs'
import t from 'tap'
import { withAdmin } from '../support/template.ts'
import { openDatabaseStage, openFolder } from './stage.ts'

t.test('a folder goes with its stage', async (t) => {
  const stage = await openFolder()
  t.equal(existsSync(stage.env.TMPDIR ?? ''), true)
  await stage.close()
  t.equal(existsSync(stage.folder), false)
})

t.test('what a test left on the server is taken away, and a server that is gone is replaced', async (t) => {
  const stage = await openDatabaseStage()
  t.teardown(() => stage.close())
  const url = stage.env.TEST_DATABASE_URL ?? ''
  const names = (): Promise<readonly string[]> =>
    withAdmin(stage.env.TEST_DATABASE_URL ?? '', async (admin) => {
      const rows = await admin`
        select datname as name from pg_database union all select rolname from pg_roles
        union all select name from pg_settings where name = 'work_mem' and setting <> '4096'`
      return rows.map(({ name }) => String(name)).toSorted()
    })
  const before = await names()
  t.equal(before.includes('lessor_template_control'), true)
  await withAdmin(url, async (admin) => {
    await admin`create database left_behind`
    await admin`create role left_behind`
    await admin`alter system set work_mem = '8MB'`
    await admin`select pg_reload_conf()`
  })
  await stage.reset()
  t.strictSame(await names(), before)
  t.equal(stage.env.TEST_DATABASE_URL, url)

  await withAdmin(url, async (admin) => {
    await admin`create role cannot_go`
    await admin`create table public.belongs ()`
    await admin`alter table public.belongs owner to cannot_go`
  })
  await stage.reset()
  t.strictSame(await names(), before)
})
