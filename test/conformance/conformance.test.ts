import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import type { ServerAdmin } from '../../src/servers/server-admin.ts'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { openAdmin } from '../placement/support.ts'
import { compileCache } from '../support/compile-cache.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { startTestServer } from '../support/server.ts'
import { runConformance } from './conformance.ts'
import { formatReport, hasPassed } from './report.ts'
import { UnusableTarget } from './target.ts'

const RUN = fileURLToPath(new URL('./run.ts', import.meta.url))

// All four placements, each with its users suite.
t.setTimeout(600_000)

/** A server on which the service has never been, so that its roles are not there either. */
const bare = await startTestServer()
t.teardown(bare.stop)

/** A login that may not do all, on the bare server, to a database of its own. */
async function limitedAdmin(t: Test, attributes: string): Promise<{ url: string; superuser: ServerAdmin }> {
  const superuser = openAdmin(t, bare.url)
  const name = `limited_${randomBytes(6).toString('hex')}`
  const password = randomBytes(16).toString('hex')
  await superuser.script(`create role ${name} login ${attributes} password '${password}'`)
  await superuser.script(`create database ${name} owner ${name}`)
  const url = new URL(bare.url)
  url.username = name
  url.password = password
  url.pathname = `/${name}`
  return { url: url.href, superuser }
}

function database(url: string): string {
  return new URL(url).pathname.slice(1)
}

t.test('a server of the tests carries all four placements, and is as it was afterwards', async (t) => {
  const [{ url }, control] = [await testDatabase(t), await testDatabase(t)]
  const admin = openAdmin(t, url)
  const messages: string[] = []
  const report = await runConformance({
    url,
    controlUrl: control.url,
    // The proof as a whole has tests of its own.
    proof: { isBounded: true, identities: ['right', 'other'], withoutLogins: true },
    signal: AbortSignal.timeout(580_000),
    onProgress: (message) => messages.push(message),
  })
  t.strictSame(
    report.placements.map((each) => [each.placement, each.carried, hasPassed(each)]),
    PLACEMENTS.map((placement) => [placement, true, true]),
    formatReport(report),
  )
  t.equal(report.passed, true)
  t.ok(report.placements.every(({ users }) => (users?.passed ?? 0) > 500))
  t.ok(report.placements.every(({ isolation }) => (isolation?.passed ?? 0) > 20))
  const parts = ['row', 'role', 'schema', 'database'].flatMap((name) => [
    `${name}: users suite`,
    `${name}: isolation proof`,
  ])
  t.strictSame(messages, ['probe', ...parts, 'cleaning up'])

  t.match(report.database, /^lessor_conformance_[0-9a-f]{12}$/)
  sameRows(t, await admin.query(sql`select from pg_database where datname = ${report.database}`), [])
  sameRows(
    t,
    await admin.query(sql`select nspname from pg_namespace where nspname in ('app', 'lessor')`),
    [],
    'the database of the URL was not touched',
  )
})

t.test('an administrator who may not make databases is told what that costs', async (t) => {
  const { url } = await limitedAdmin(t, 'createrole')
  const control = await testDatabase(t)
  const report = await runConformance({
    url,
    controlUrl: control.url,
    only: ['database'],
    signal: AbortSignal.timeout(110_000),
  })
  t.equal(report.database, database(url), 'it works in the database that it was given')
  like(t, report.placements, [{ placement: 'database', carried: false, reason: /CREATEDB/, users: null }])
  t.equal(report.passed, false, 'what was asked for by name has to be carried')
  t.match(formatReport(report), /database +not carried +- +- +-\n\ndatabase:\n {2}.*CREATEDB/)
})

t.test('an administrator who may not make roles is told that nothing is carried', async (t) => {
  const { url } = await limitedAdmin(t, 'createdb')
  const control = await testDatabase(t)
  const report = await runConformance({ url, controlUrl: control.url, signal: AbortSignal.timeout(110_000) })
  t.strictSame(
    report.placements.map(({ carried }) => carried),
    PLACEMENTS.map(() => false),
  )
  t.ok(report.placements.every(({ reason }) => reason?.includes('CREATEROLE')))
  t.equal(report.passed, false)
})

t.test('a database that has tables of the service is left alone', async (t) => {
  const { url } = await limitedAdmin(t, 'createrole')
  const [admin, control] = [openAdmin(t, url), await testDatabase(t)]
  await admin.script('create schema app; create table app.users (id integer)')
  await rejectsLike(
    t,
    runConformance({ url, controlUrl: control.url, signal: AbortSignal.timeout(110_000) }),
    {
      name: UnusableTarget.name,
      message:
        'The database of the URL has schema app or lessor already. Name an empty one, ' +
        'or an administrator who may make databases (CREATEDB).',
    },
  )
  sameRows(t, await admin.query(sql`select relname from pg_class where relname = 'users'`), [
    { relname: 'users' },
  ])
})

t.test('a run that is stopped leaves nothing behind', async (t) => {
  const { url, superuser } = await limitedAdmin(t, 'createrole')
  const [admin, control] = [openAdmin(t, url), await testDatabase(t)]
  const roles = () => superuser.query(sql`select rolname from pg_roles order by 1`)
  const before = await roles()
  const stop = new AbortController()
  await rejectsLike(
    t,
    runConformance({
      url,
      controlUrl: control.url,
      signal: stop.signal,
      onProgress: (message) => message === 'role: users suite' && stop.abort(new Error('stopped')),
    }),
    { message: 'stopped' },
  )
  sameRows(t, await admin.query(sql`select nspname from pg_namespace where nspname in ('app', 'lessor')`), [])
  sameRows(t, await roles(), before)
  sameRows(
    t,
    await admin.query(sql`select has_database_privilege('public', current_database(), 'connect') as connect`),
    [{ connect: true }],
  )
})

t.test('the command says what it needs', async (t) => {
  const run = (...args: string[]) =>
    promisify(execFile)(process.execPath, [RUN, ...args], {
      env: { PATH: process.env.PATH, ...compileCache() },
    })
  await rejectsLike(t, run(), { code: 2, stderr: /Name the server: --url <url>/ })
  await rejectsLike(t, run('--url', 'postgres://x', '--placement', 'shard'), {
    code: 2,
    stderr: /There is no placement "shard"/,
  })
  await rejectsLike(t, run('--what'), { code: 2, stderr: /--what/ })
  t.match((await run('--help')).stdout, /npm run conformance -- --url <url>/)
})
