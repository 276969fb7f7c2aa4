import { execFileSync, spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { parseConnectArgs } from '../../src/cli/connect-options.ts'
import {
  certificateLines,
  certificatesOf,
  psqlEnvironment,
  shellLines,
  visitEnvironment,
} from '../../src/cli/visit-environment.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { RootCertificates } from '../../src/pool/root-certificates.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import type { Visit } from '../../src/tenants/visits.ts'
import { openSession } from '../placement/support.ts'
import { excludes, like, sameRows, throwsLike } from '../support/like.ts'
import { openConnect, standIn } from './connect-support.ts'

t.test('the arguments name one tenant; those behind -- are for psql', async (t) => {
  t.strictSame(parseConnectArgs(['acme']), {
    tenant: 'acme',
    namespace: undefined,
    minutes: 15,
    writes: false,
    prints: false,
    psqlArgs: [],
  })
  t.strictSame(
    parseConnectArgs([
      '--write',
      'acme',
      '--minutes',
      '5',
      '--namespace',
      'shop',
      '--',
      '-c',
      'select 1',
      '--',
      'x',
    ]),
    {
      tenant: 'acme',
      namespace: 'shop',
      minutes: 5,
      writes: true,
      prints: false,
      psqlArgs: ['-c', 'select 1', '--', 'x'],
    },
  )
  for (const [args, message] of [
    [[], /Name a tenant/],
    [['--'], /Name a tenant/],
    [['a', 'b'], /Name one tenant/],
    [['a', '--minutes', '0'], /--minutes must be a number from 1 to 480, not "0"/],
    [['a', '--minutes', '481'], /from 1 to 480/],
    [['a', '--minutes', '1.5'], /from 1 to 480/],
    [['a', '--password', 'x'], /Unknown option/],
  ] as const) {
    throwsLike(t, () => parseConnectArgs(args), { message })
  }
})

const VISIT: Visit = {
  tenant: {} as never,
  role: 'tc_1',
  password: new Secret(`it's`),
  host: 'db.example',
  port: 5433,
  database: 'app',
  tls: 'verify-full',
  parameters: { search_path: 'a b\\c', 'rls.tenant_id': '1' },
  validUntil: new Date(0),
}

t.test('a login is settings that libpq reads, and psql gets none of our secrets', async (t) => {
  t.strictSame(visitEnvironment(VISIT), {
    PGHOST: 'db.example',
    PGPORT: '5433',
    PGDATABASE: 'app',
    PGUSER: 'tc_1',
    PGPASSWORD: `it's`,
    PGSSLMODE: 'verify-full',
    PGOPTIONS: '-c search_path=a\\ b\\\\c -c rls.tenant_id=1',
  })
  t.equal(shellLines({ A: `it's`, B: '$x' }), `export A='it'\\''s'\nexport B='$x'\n`)
  const env = psqlEnvironment(VISIT, {
    HOME: '/h',
    DATABASE_URL: 'x',
    VAULT_KEYS: 'y',
    OPERATOR_KEY: 'z',
    PGUSER: 'me',
  })
  like(t, env, { HOME: '/h', PGUSER: 'tc_1' })
  for (const name of ['DATABASE_URL', 'VAULT_KEYS', 'OPERATOR_KEY']) t.notOk(name in env)
})

t.test('a login has all hosts and the root certificates of its server', async (t) => {
  const certificates = (change: Partial<Visit>) => {
    const visit: Visit = { ...VISIT, ...change }
    return [visitEnvironment(visit).PGSSLROOTCERT, certificatesOf(visit)]
  }
  const pem = 'a certificate of a test'
  t.strictSame(certificates({}), [undefined, undefined])
  t.strictSame(certificates({ rootCertificates: RootCertificates.stored('system') }), ['system', undefined])
  t.strictSame(certificates({ rootCertificates: RootCertificates.stored(pem) }), [undefined, pem])
  const folder = t.testdir({ 'ca.pem': '' })
  const { key, cert } = { key: join(folder, 'key.pem'), cert: join(folder, 'ca.pem') }
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=ca']
  execFileSync('openssl', [...request, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const url = `postgres://me:p@a/data?sslmode=verify-ca&sslrootcert=${cert}`
  t.strictSame(certificates(parseDatabaseUrl(url)), [cert, undefined], 'a file that is there')

  const { PGHOST, PGPORT, PGTARGETSESSIONATTRS } = visitEnvironment({
    ...VISIT,
    alternates: [{ host: 'b', port: 5432 }],
  })
  t.strictSame([PGHOST, PGPORT, PGTARGETSESSIONATTRS], ['db.example,b', '5433,5432', 'primary'])
  const shown = execFileSync('/bin/sh', [
    '-c',
    `${certificateLines(pem)} cat "$PGSSLROOTCERT"; rm "$PGSSLROOTCERT"`,
  ])
  t.equal(String(shown), pem)
})

/** Where psql is, if anywhere. */
const PSQL = (process.env.PATH ?? '').split(':').find((folder) => {
  try {
    accessSync(join(folder, 'psql'), constants.X_OK)
    return true
  } catch {
    return false
  }
})

t.test('psql sees one tenant, whatever its placement, and the login is gone afterwards', async (t) => {
  const { id, run, visitors, databaseUrl } = await openConnect(t)
  const tenants = [
    [id, 'Acme'],
    ['ACME', 'Acme'],
    ['small', 'Small'],
  ] as const
  if (PSQL !== undefined) {
    for (const [tenant, name] of tenants) {
      const query = `select first_name, tenant_id::text = current_setting('rls.tenant_id') from users`
      const { status, stdout, stderr } = await run(PSQL, tenant, '--', '-XAtc', query)
      t.equal(status, 0, stderr)
      t.equal(stdout, `${name}|t\n`)
      t.match(stderr, /^\{.*"a person was given a login to a tenant".*\n?/m)
      t.match(stderr, /, read only, as tc_[0-9a-f]{8}_[0-9a-f]{32} until /)
    }
    sameRows(t, await visitors(), [])
  }
  for (const [tenant, name] of tenants) {
    // The same without psql: what is printed is a login.
    const { stdout } = await run(dirname(process.execPath), tenant, '--print')
    const printed = Object.fromEntries(
      [...stdout.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, key, value]) => [key, value]),
    )
    const url = new URL(databaseUrl)
    url.username = printed.PGUSER
    url.password = printed.PGPASSWORD
    t.equal(printed.PGPORT, url.port)
    const session = await openSession(t, url.href, { options: printed.PGOPTIONS })
    sameRows(t, await session.query(sql`select first_name from users`), [{ first_name: name }])
  }
  t.equal((await visitors()).length, 3, 'a printed login stays until its time is over')
})

t.test('without psql the login is printed', async (t) => {
  const { run } = await openConnect(t)
  const { status, stdout, stderr } = await run(undefined, 'small')
  t.equal(status, 0)
  t.match(stderr, /psql is not installed here/)
  t.match(stdout, /^export PGHOST='127\.0\.0\.1'\n/)
  const [, password = ''] = /PGPASSWORD='(.*)'/.exec(stdout) ?? []
  t.ok(password.length > 40)
  t.notOk(stderr.includes(password))
})

t.test('psql gets its arguments, and the password in its environment alone', async (t) => {
  const { run, visitors } = await openConnect(t)
  const path = standIn(t, 'echo "args: $*"; env; exit 3')
  const { status, stdout } = await run(path, 'small', '--write', '--', '-c', 'select 1')
  t.equal(status, 3, 'its status is that of psql')
  t.match(stdout, /^args: -c select 1\n/)
  t.match(stdout, /^PGPASSWORD=.{43}$/m)
  excludes(t, stdout, /VAULT_KEYS|OPERATOR_KEY|DATABASE_URL/)
  sameRows(t, await visitors(), [])
})

t.test('who is not there, or going, gets no visitor', async (t) => {
  const { id, lessor, operator, run, visitors } = await openConnect(t)
  const unknown = await run(undefined, 'nobody')
  t.equal(unknown.status, 1)
  t.equal(
    unknown.stderr,
    'lessor connect: The namespace "default" has no tenant "nobody". (TENANT_NOT_FOUND)\n',
  )
  t.equal((await run(undefined, '00000000-0000-4000-8000-000000000000')).status, 1)

  await run(undefined, id)
  t.equal((await visitors()).length, 1)
  await operator({ method: 'DELETE', url: `/v1/tenants/${id}` })
  while ((await lessor.tenants.get(id)).status !== 'deleted')
    await new Promise((resolve) => setImmediate(resolve))
  sameRows(t, await visitors(), [], 'a tenant that is deleted takes its visitors along')
  const gone = await run(undefined, id)
  t.match(gone.stderr, /A tenant that is deleted cannot be visited\. \(TENANT_STATUS_CONFLICT\)/)
})

t.test('what runs after a login in print does not run when there is none', async (t) => {
  const { run } = await openConnect(t)
  for (const args of [['unknown', '--print'], ['--print'], ['small', '--print', '--minutes', '0']]) {
    const { status, stdout, stderr } = await run(undefined, ...args)
    t.not(status, 0)
    t.match(stderr, /^lessor connect: /m)
    const went = spawnSync('/bin/sh', ['-c', `eval "$1" && echo went on`, 'sh', stdout], { encoding: 'utf8' })
    t.equal(went.stdout, '', args.join(' '))
  }
  const { stdout } = await run(undefined, 'small', '--print')
  const went = spawnSync('/bin/sh', ['-c', `eval "$1" && echo went on`, 'sh', stdout], { encoding: 'utf8' })
  t.equal(went.stdout, 'went on\n')
  t.equal((await run(undefined, 'unknown')).stdout, '', 'of a login for psql nothing is printed')
})

t.test('a login whose time is over is dropped by the next visit, and by the service', async (t) => {
  const { lessor, run, visitors } = await openConnect(t)
  const expire = () =>
    lessor.control.query(sql`update lessor.visits set valid_until = now() - interval '1 second'`)
  await run(undefined, 'small')
  await expire()
  const before = await visitors()
  await run(undefined, 'small')
  const after = await visitors()
  t.equal(after.length, 1)
  t.strictNotSame(after, before)
  await expire()
  await lessor.tenants.recover()
  sameRows(t, await visitors(), [])
})
