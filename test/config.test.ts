import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { ConfigError, loadConfig } from '../src/config.ts'
import { VARIABLES } from '../src/config-variables.ts'
import { createLogger } from '../src/http/logger.ts'
import { createLessor } from '../src/lessor.ts'
import { excludes, like, throwsLike } from './support/like.ts'

const HEX = 'ab'.repeat(32)
const COMPLETE = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://lessor:hidden-password@db:5432/lessor',
  OPERATOR_KEY: 'o'.repeat(40),
  VAULT_KEYS: `k1:${HEX}`,
}

function problemsOf(environment: Record<string, string | undefined>): readonly string[] {
  try {
    loadConfig(environment)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

t.test('an empty environment gives the defaults', async (t) => {
  const config = loadConfig({})
  like(t, config, {
    production: false,
    stateDir: '.lessor',
    logLevel: 'info',
    operatorKey: undefined,
    vaultKeys: undefined,
    control: { url: undefined, maxConnections: 10 },
    http: { host: '127.0.0.1', port: 8080, tls: undefined, trustProxy: [], corsOrigins: [] },
    access: { trustedNetworks: ['127.0.0.0/8', '::1/128'], apiKeyCacheMs: 60_000 },
    pools: { maxEntries: 500, maxConnections: 4, serverMaxConnections: 80, idleMs: 600_000 },
    sweepCron: '*/30 * * * * *',
    warnings: [],
  })
})

t.test('loopback is trusted only with the embedded database', async (t) => {
  t.strictSame(loadConfig({ DATABASE_URL: COMPLETE.DATABASE_URL }).access.trustedNetworks, [])
  t.strictSame(loadConfig({ TRUSTED_NETWORKS: 'none' }).access.trustedNetworks, [])
  t.strictSame(loadConfig({ TRUSTED_NETWORKS: '10.0.0.0/8, fd00::/8' }).access.trustedNetworks, [
    '10.0.0.0/8',
    'fd00::/8',
  ])
})

t.test('the config is frozen at every depth', async (t) => {
  const config = loadConfig({})
  t.throws(() => Object.assign(config.pools, { maxEntries: 1 }), TypeError)
  t.throws(() => Object.assign(config.variables[0] ?? {}, { name: 'x' }), TypeError)
})

t.test('every wrong variable is named at once, with what would be right', async (t) => {
  const problems = problemsOf({
    PORT: '80a',
    LOG_LEVEL: 'loud',
    TRUSTED_NETWORKS: '10.0.0.0/33',
    TRUST_PROXY: 'proxy.internal',
    CORS_ORIGINS: 'https://app.example.com/path',
    DATABASE_URL: 'mysql://u@h/d',
    OPERATOR_KEY: 'short',
    VAULT_KEYS: 'k1:abc',
    SWEEP_CRON: '* * * * *',
    POOL_MAX_CONNECTIONS: '90',
    POOL_DRAIN_TIMEOUT_MS: '50000',
    TLS_CERT_FILE: '/nowhere/cert.pem',
  })
  t.strictSame(
    problems.map((problem) => problem.split(' ')[0]),
    [
      'PORT',
      'LOG_LEVEL',
      'DATABASE_URL',
      'OPERATOR_KEY',
      'VAULT_KEYS',
      'TRUSTED_NETWORKS',
      'TRUST_PROXY',
      'CORS_ORIGINS',
      'SWEEP_CRON',
      'TLS_CERT_FILE',
      'SERVER_MAX_CONNECTIONS',
      'SHUTDOWN_TIMEOUT_MS',
    ],
  )
  t.equal(problems[0], 'PORT must be an integer from 0 to 65535, not "80a"')
  t.equal(problems[1], 'LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent, not "loud"')
})

t.test('production defaults nothing: what is missing is named', async (t) => {
  t.strictSame(
    problemsOf({ NODE_ENV: 'production', PORT: '-1' }).map((problem) => problem.split(' must ')[0]),
    ['PORT', 'DATABASE_URL', 'OPERATOR_KEY', 'VAULT_KEYS'],
  )
  const config = loadConfig(COMPLETE)
  t.equal(config.http.host, '0.0.0.0')
  t.equal(config.control.url?.reveal(), COMPLETE.DATABASE_URL)
  t.strictSame(config.access.trustedNetworks, [])
})

t.test('an empty variable counts as unset', async (t) => {
  t.strictSame(problemsOf({ ...COMPLETE, OPERATOR_KEY: '' }).length, 1)
  t.equal(loadConfig({ PORT: '' }).http.port, 8080)
})

t.test('no secret is in a message, in the printed config or in its JSON', async (t) => {
  const secrets = ['hidden-password', 'operator-secret', HEX]
  const wrong = problemsOf({
    DATABASE_URL: 'http://u:hidden-password@h/d',
    OPERATOR_KEY: 'operator-secret',
    VAULT_KEYS: `${HEX},`.repeat(2),
  })
  t.equal(wrong.length, 3)
  const config = loadConfig({ ...COMPLETE, OPERATOR_KEY: 'operator-secret'.repeat(3) })
  const printed = [wrong.join('\n'), inspect(config, { depth: 10, showHidden: true }), JSON.stringify(config)]
  for (const text of printed) for (const secret of secrets) t.notOk(text.includes(secret), secret)
})

t.test('a secret can stand in a file', async (t) => {
  const file = join(t.testdir(), 'operator-key')
  writeFileSync(file, `${COMPLETE.OPERATOR_KEY}\n`)
  const config = loadConfig({ ...COMPLETE, OPERATOR_KEY: undefined, OPERATOR_KEY_FILE: file })
  t.equal(config.operatorKey?.reveal(), COMPLETE.OPERATOR_KEY)
  t.strictSame(problemsOf({ ...COMPLETE, OPERATOR_KEY_FILE: file }), [
    'Set OPERATOR_KEY or OPERATOR_KEY_FILE, not both',
  ])
  like(t, problemsOf({ OPERATOR_KEY_FILE: '/nowhere/key' }), [/^OPERATOR_KEY_FILE must be .*ENOENT/])
})

t.test('a certificate needs its key, and the key its passphrase', async (t) => {
  const dir = t.testdir()
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-subj',
      '/CN=localhost',
      '-passout',
      'pass:correct horse',
    ].concat(['-keyout', key, '-out', cert]),
    { stdio: 'ignore' },
  )
  const files = { TLS_CERT_FILE: cert, TLS_KEY_FILE: key }
  const config = loadConfig({ ...files, TLS_KEY_PASSPHRASE: 'correct horse' })
  t.equal(config.http.tls?.certificate, readFileSync(cert, 'utf8'))
  t.equal(config.http.tls?.passphrase?.reveal(), 'correct horse')
  like(t, problemsOf({ ...files, TLS_KEY_PASSPHRASE: 'wrong pony' }), [/passphrase/])
  excludes(t, problemsOf({ ...files, TLS_KEY_PASSPHRASE: 'wrong pony' }).join('\n'), 'wrong pony')
  like(t, problemsOf(files), [/passphrase/])
  t.strictSame(problemsOf({ TLS_CERT_FILE: cert }), ['TLS_CERT_FILE and TLS_KEY_FILE must be set together'])
})

t.test('a misspelt variable is pointed out, one of other software is not', async (t) => {
  const { warnings } = loadConfig({
    POOL_MAX_ENTIRES: '9',
    PATH: '/bin',
    SERVER_SOFTWARE: 'x',
    HOSTNAME: 'h',
  })
  t.strictSame(warnings, ['POOL_MAX_ENTIRES is not a variable of Lessor: did you mean POOL_MAX_ENTRIES?'])
})

t.test('variables are listed for operators, secrets hidden', async (t) => {
  const { variables } = loadConfig({ ...COMPLETE, PORT: '9000' })
  const named = (name: string) => variables.find((variable) => variable.name === name)
  t.strictSame(named('PORT'), { name: 'PORT', value: 9000, isDefault: false })
  t.strictSame(named('OPERATOR_KEY'), { name: 'OPERATOR_KEY', value: '[secret]', isDefault: false })
  t.strictSame(named('TLS_CERT_FILE'), { name: 'TLS_CERT_FILE', value: null, isDefault: true })
})

t.test('a limit of sessions that is less than a pool may open is warned of', async (t) => {
  const warnings = (limit: string) =>
    loadConfig({ POOL_MAX_CONNECTIONS: '6', ROLE_CONNECTION_LIMIT: limit }).warnings
  t.strictSame(warnings(''), [])
  t.strictSame(warnings('6'), [])
  t.strictSame(warnings('5'), [
    'ROLE_CONNECTION_LIMIT (5) is less than POOL_MAX_CONNECTIONS (6): PostgreSQL refuses connections that the pools may ' +
      'open. Set it to POOL_MAX_CONNECTIONS times the nodes at least, or leave it out',
  ])
})

t.test('a watchdog that would end the transactions of requests is warned of', async (t) => {
  const warnings = (environment: Record<string, string>) =>
    loadConfig({ REQUEST_TIMEOUT_MS: '9000', STATEMENT_TIMEOUT_MS: '8000', ...environment }).warnings
  t.strictSame(warnings({ WATCHDOG_TRANSACTION_MS: '9000' }), [])
  t.strictSame(warnings({ WATCHDOG_TRANSACTION_MS: '8999', WATCHDOG: 'off' }), [])
  t.strictSame(warnings({ WATCHDOG_TRANSACTION_MS: '8999' }), [
    'WATCHDOG_TRANSACTION_MS (8999) is less than a request may take (9000, the larger of REQUEST_TIMEOUT_MS and ' +
      'STATEMENT_TIMEOUT_MS): the watchdog ends transactions of the service itself, and blocks their tenants. Raise it',
  ])
  t.equal(warnings({ STATEMENT_TIMEOUT_MS: '9500', WATCHDOG_TRANSACTION_MS: '9000' }).length, 1)
})

t.test('what a login may do on a data server is in parts and milliseconds', async (t) => {
  t.strictSame(loadConfig({}).watchdog, {
    isOn: true,
    intervalMs: 1_000,
    lockPart: 0.12,
    blockingMs: 1_000,
    transactionMs: 600_000,
    sessionPart: 0.1,
    offences: 3,
    offenceMs: 600_000,
  })
  t.strictSame(
    loadConfig({
      WATCHDOG: 'off',
      WATCHDOG_INTERVAL_MS: '500',
      WATCHDOG_LOCK_PERCENT: '25',
      WATCHDOG_BLOCKING_MS: '3000',
      WATCHDOG_TRANSACTION_MS: '60000',
      WATCHDOG_RESERVE_PERCENT: '20',
      WATCHDOG_OFFENCES: '5',
      WATCHDOG_OFFENCE_SECONDS: '60',
    }).watchdog,
    {
      isOn: false,
      intervalMs: 500,
      lockPart: 0.25,
      blockingMs: 3_000,
      transactionMs: 60_000,
      sessionPart: 0.2,
      offences: 5,
      offenceMs: 60_000,
    },
  )
})

t.test('.env.example names every variable with its default and meaning, one line each', async (t) => {
  const lines = readFileSync(new URL('../.env.example', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => /^#[A-Z_]+=/.test(line))
  const schemas: Record<string, { default?: unknown; description: string }> = JSON.parse(
    JSON.stringify(VARIABLES.properties),
  )
  t.strictSame(
    lines,
    Object.entries(schemas).map(
      ([name, schema]) => `#${name}=${schema.default ?? ''} # ${schema.description}`,
    ),
  )
})

t.test('the .env file of the working directory lies beneath the process variables', async (t) => {
  const dir = t.testdir({ '.env': 'PORT=7001 # comment\nHOST=127.0.0.2\n' })
  const script = `import { loadConfig } from ${JSON.stringify(new URL('../src/config.ts', import.meta.url).href)}
    process.stdout.write(JSON.stringify(loadConfig().http))`
  const { PATH } = process.env
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: dir,
    env: { PATH, HOST: '127.0.0.3' },
    encoding: 'utf8',
  })
  like(t, JSON.parse(output), { port: 7001, host: '127.0.0.3' })
})

t.test('a wrong database URL is told as a configuration that is not valid, and not shown', async (t) => {
  const { logger } = createLogger('silent')
  const open = (url: string) => createLessor(loadConfig({ ...COMPLETE, DATABASE_URL: url }), { logger })
  throwsLike(t, () => open('postgres://lessor:hunter2%@db/lessor'), {
    name: 'ConfigError',
    message:
      'The configuration is not valid:\n  DATABASE_URL: The password in the database URL has a % that begins no ' +
      'percent-encoded UTF-8 character; write %25 for a percent sign',
  })
  t.doesNotThrow(() => open('postgres://lessor:p@db-a:5432,db-b:5433/lessor?target_session_attrs=read-write'))
})
