import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { type GivenWay, parseDatabaseUrl, parseServerUrl } from '../../src/control/database-url.ts'
import { excludes } from '../support/like.ts'

const folder = mkdtempSync(join(tmpdir(), 'lessor-url-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const keyFile = join(folder, 'key.pem')
const certFile = join(folder, 'cert.pem')
execFileSync(
  'openssl',
  [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '1',
    '-subj',
    '/CN=ca',
    '-keyout',
    keyFile,
    '-out',
    certFile,
  ],
  { stdio: 'ignore' },
)
const pem = readFileSync(certFile, 'utf8')

/** What a URL says, without its password. */
function read(url: string) {
  const { password, ...address } = parseDatabaseUrl(url)
  return address
}

/** Why a URL is refused, in words that hold nothing of it. */
function refusal(parse: () => unknown): string {
  try {
    parse()
  } catch (error) {
    if (/hunter2/.test(inspect(error))) throw new Error('the message holds a part of the password')
    return error instanceof Error ? error.message : 'no error'
  }
  return 'accepted'
}

t.test('a database URL is read with everything percent-decoded', async (t) => {
  const url = 'postgres://o%40ps:p%3Aw%2F@db.example:6432/my%20db?sslmode=verify-full'
  t.strictSame(read(url), {
    host: 'db.example',
    port: 6432,
    tls: 'verify-full',
    database: 'my db',
    user: 'o@ps',
  })
  const { password } = parseDatabaseUrl(url)
  t.equal(password.reveal(), 'p:w/')
  excludes(t, inspect(parseDatabaseUrl(url)), /p:w/)
})

t.test('what a URL leaves out has its usual value', async (t) => {
  t.strictSame(read('postgresql://me@localhost/data'), {
    host: 'localhost',
    port: 5432,
    tls: 'disable',
    database: 'data',
    user: 'me',
  })
  t.equal(parseDatabaseUrl('postgresql://me@localhost/data').password.reveal(), '')
})

t.test('a password is read with a raw @, :, space and plus, as before', async (t) => {
  t.equal(parseDatabaseUrl(' postgres://me:a@b:c d+e@localhost/data\n').password.reveal(), 'a@b:c d+e')
})

t.test('IPv6 addresses and socket directories are hosts as well', async (t) => {
  t.equal(read('postgres://me@[::1]:5433/data').host, '::1')
  t.equal(read('postgres://me@%2Fvar%2Frun%2Fpostgresql/data').host, '/var/run/postgresql')
  t.equal(read('postgres://me@/data?host=/var/run/postgresql').host, '/var/run/postgresql')
})

t.test('several hosts are one server, each with its port', async (t) => {
  const ports = (url: string) => {
    const { host, port, alternates } = read(url)
    return [{ host, port }, ...(alternates ?? [])].map((each) => `${each.host} ${each.port}`)
  }
  t.strictSame(ports('postgres://me:p@a:5433,b,[::1]:5434/data'), ['a 5433', 'b 5432', '::1 5434'])
  t.strictSame(ports('postgres://me:p@a,b/data?port=6000'), ['a 6000', 'b 6000'])
  t.strictSame(ports('postgres://me:p@/data?host=a,b&port=1,2'), ['a 1', 'b 2'])
  t.strictSame(ports('postgres://me:p@/data?host=a,b&port=7'), ['a 7', 'b 7'])
  t.strictSame(ports('postgres://me:p@%2Frun%2Fa%2Cb,c/data'), ['/run/a,b 5432', 'c 5432'])
})

t.test('parts may be parameters instead', async (t) => {
  const url = 'postgres://?host=db&dbname=my%2Bdb&user=me&password=a+b%25'
  t.strictSame(read(url), { host: 'db', port: 5432, tls: 'disable', database: 'my+db', user: 'me' })
  t.equal(parseDatabaseUrl(url).password.reveal(), 'a+b%')
})

t.test('a wrong URL is refused in a sentence that holds nothing of it', async (t) => {
  const form = 'The database URL must have the form postgres://user:password@host:port/database'
  const port =
    'The database URL has a port that is no number from 1 to 65535; in a password write %3A for :, %2F for / and %40 for @'
  const parts = 'The database URL must name a user, a host and a database'
  const percent =
    'The password in the database URL has a % that begins no percent-encoded UTF-8 character; write %25 for a percent sign'
  const host =
    'The database URL has a host that is no host name, IP address ([::1] in brackets) or socket directory (%2Frun%2Fpostgresql)'
  const raw = 'The database URL has a raw / or ? before the @; in a password write %2F for / and %3F for ?'
  const query = 'The database URL must end with parameters of the form name=value&name=value'
  const cases: readonly [url: string, message: string][] = [
    ['', form],
    ['mysql://me:hunter2@localhost/data', form],
    ['postgres://me:hunter2@localhost:99999/data', port],
    ['postgres://me:hunter2@localhost:0/data', port],
    ['postgres://me:hunter2', port],
    ['postgres://me:hunter2@localhost', parts],
    ['postgres://me:hunter2@/data', parts],
    ['postgres://:hunter2@localhost/data', parts],
    ['postgres://me:%zz-hunter2@localhost/data', percent],
    ['postgres://me:hunter2%@localhost/data', percent],
    ['postgres://me:hunter2%ff@localhost/data', percent],
    ['postgres://me:hunter2%00@localhost/data', 'The password in the database URL must not have %00'],
    [
      'postgres://me:hunter2\n@localhost/data',
      'The database URL has a raw control character, such as a line end',
    ],
    [
      'postgres://me:hunter2#@localhost/data',
      'The database URL has a raw #; write %23 for it, as in a password',
    ],
    ['postgres://me:hunter2/x@localhost/data', raw],
    ['postgres://me:hunter2?x@localhost/data', raw],
    ['postgres://me:p@hunter2 x/data', host],
    ['postgres://me:p@hunter2]/data', host],
    ['postgres://me:p@[hunter2]/data', 'The database URL has no IPv6 address between [ and ]'],
    [
      'postgres://me:p@a,,b/data',
      'The database URL has an empty host between its commas; in a user write %2C for a comma',
    ],
    ['postgres://me:p@a/data?hunter2', query],
    ['postgres://me:p@a/data?hunter2%20x=1', query],
    [
      'postgres://me:p@a/data?sslmode=require&sslmode=disable',
      'The database URL has the parameter "sslmode" twice',
    ],
    [
      'postgres://me:hunter2@a/data?password=hunter2',
      'The database URL has the parameter "password" and says the same in its place: leave out one of them',
    ],
    [
      'postgres://me:p@a/data?host=b',
      'The database URL has the parameter "host" and says the same in its place: leave out one of them',
    ],
    [
      'postgres://me:p@a:1/data?port=2',
      'The database URL has the parameter "port" and a port in its place: leave out one of them',
    ],
    [
      'postgres://me:p@/data?host=a,b,c&port=1,2',
      "The database URL's port must be one for all hosts, or one for each host",
    ],
  ]
  for (const [url, message] of cases)
    t.equal(
      refusal(() => parseDatabaseUrl(url)),
      message,
      url,
    )
})

t.test('every sslmode works, or is refused with what to write', async (t) => {
  const mode = (sslmode: string) => read(`postgres://me:p@a/data?sslmode=${sslmode}`).tls
  t.strictSame(['disable', 'require', 'verify-ca', 'verify-full'].map(mode), [
    'disable',
    'require',
    'verify-ca',
    'verify-full',
  ])
  t.equal(read('postgres://me:p@a/data?ssl=true').tls, 'require')
  const why = (query: string) => refusal(() => parseDatabaseUrl(`postgres://me:hunter2@a/data?${query}`))
  for (const sslmode of ['prefer', 'allow']) {
    t.equal(
      why(`sslmode=${sslmode}`),
      `The database URL must not have sslmode=${sslmode}, which goes on without TLS when it cannot be had: ` +
        'write require or verify-full where the server has TLS, else disable',
    )
  }
  t.equal(
    why('sslmode=hunter2'),
    "The database URL's sslmode must be disable, require, verify-ca or verify-full",
  )
  t.equal(why('ssl=1'), 'The database URL must have sslmode=... instead of the parameter "ssl"')
  t.equal(
    refusal(() => parseDatabaseUrl('postgres://me:hunter2@b,%2Frun/data?sslmode=require')),
    'The database URL must have no sslmode but disable with a socket directory, which has no TLS',
  )
})

t.test('root certificates are read from a file that the configuration names', async (t) => {
  const way = (query: string) => parseDatabaseUrl(`postgres://me:hunter2@a/data?${query}`)
  const { tls, rootCertificates } = way(`sslmode=verify-full&sslrootcert=${encodeURIComponent(certFile)}`)
  t.strictSame([tls, rootCertificates?.text, rootCertificates?.path], ['verify-full', pem, certFile])
  t.equal(way(`sslmode=verify-ca&sslrootcert=${certFile}`).tls, 'verify-ca')
  t.equal(way(`sslmode=require&sslrootcert=${certFile}`).tls, 'verify-ca', "libpq's rule")
  const system = way('sslrootcert=system')
  t.strictSame([system.tls, system.rootCertificates?.text], ['verify-full', 'system'])

  const file = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  const empty = file('empty.pem', 'not a certificate')
  const broken = file('broken.pem', pem.replace(/\n[\w+/=]{60}/, '\n'))
  const bundle = file('bundle.pem', `# a comment with - dashes\n${pem}\n# another one\n${pem}`)
  t.equal(way(`sslmode=verify-ca&sslrootcert=${bundle}`).rootCertificates?.text, pem + pem)
  const useless =
    'The root certificates are of no use without TLS: write sslmode=verify-full into the database URL, or name none'
  const cases: readonly [query: string, message: string][] = [
    [
      `sslmode=verify-ca&sslrootcert=${folder}/none.pem`,
      `The file "${folder}/none.pem" of the database URL's sslrootcert cannot be read (ENOENT)`,
    ],
    [
      `sslmode=verify-ca&sslrootcert=${empty}`,
      `The file "${empty}" of the database URL's sslrootcert holds no certificate in PEM (-----BEGIN CERTIFICATE-----)`,
    ],
    [
      `sslmode=verify-ca&sslrootcert=${broken}`,
      `The file "${broken}" of the database URL's sslrootcert holds a certificate that cannot be read`,
    ],
    [
      `sslmode=verify-ca&sslrootcert=${keyFile}`,
      `The file "${keyFile}" of the database URL's sslrootcert holds a private key, and must hold certificates alone`,
    ],
    [`sslrootcert=${certFile}`, useless],
    [`sslmode=disable&sslrootcert=${certFile}`, useless],
    [
      'sslmode=require&sslrootcert=system',
      'The database URL must have sslmode=verify-full with sslrootcert=system: anyone gets a certificate of these',
    ],
  ]
  for (const [query, message] of cases)
    t.equal(
      refusal(() => way(query)),
      message,
    )
})

t.test('the URL of a request names no file; its certificates stand beside it', async (t) => {
  const way = (query: string, given?: GivenWay) =>
    parseServerUrl(`postgres://me:hunter2@a/data?${query}`, given)
  t.equal(
    refusal(() => way(`sslmode=verify-full&sslrootcert=${certFile}`)),
    'The database URL must not have the parameter "sslrootcert" with a file, which other processes do not have: ' +
      'send the certificates themselves as root_certificates, or write sslrootcert=system',
  )
  t.equal(way('sslrootcert=system').rootCertificates?.text, 'system')
  const given = way('', { tls: 'verify-full', rootCertificates: `a comment\n${pem}` })
  t.strictSame([given.tls, given.rootCertificates?.text], ['verify-full', pem])
  t.equal(
    refusal(() => way('sslrootcert=system', { rootCertificates: pem })),
    'The root certificates stand in the request and in the URL as sslrootcert: leave out one of them',
  )
  t.equal(
    refusal(() => way('sslmode=verify-ca', { rootCertificates: 'hunter2' })),
    'The text of root_certificates holds no certificate in PEM (-----BEGIN CERTIFICATE-----)',
  )
  const kept = given.rootCertificates
  t.equal(way('sslmode=verify-ca', { kept }).rootCertificates, kept)
  t.equal(way('sslrootcert=system', { kept }).rootCertificates?.text, 'system')
})

/** All of PostgreSQL 18's manual, "Parameter Key Words", and URLs of other drivers. */
const REFUSED = [
  'application_name=x',
  'channel_binding=require',
  'client_encoding=latin1',
  'connect_timeout=5',
  'fallback_application_name=x',
  'gssdelegation=1',
  'gssencmode=require',
  'gsslib=gssapi',
  'hostaddr=::1',
  'keepalives=0',
  'keepalives_count=1',
  'keepalives_idle=1',
  'keepalives_interval=1',
  'krbsrvname=x',
  'load_balance_hosts=random',
  'max_protocol_version=latest',
  'min_protocol_version=3.2',
  'oauth_client_id=x',
  'oauth_client_secret=x',
  'oauth_issuer=x',
  'oauth_scope=x',
  'options=-cfoo',
  'passfile=x',
  'pgbouncer=true',
  'replication=database',
  'require_auth=none',
  'requirepeer=x',
  'requiressl=1',
  'schema=public',
  'scram_client_key=x',
  'scram_server_key=x',
  'service=x',
  'servicefile=x',
  'ssl_max_protocol_version=TLSv1.2',
  'ssl_min_protocol_version=TLSv1',
  'sslcert=x',
  'sslcertmode=require',
  'sslcompression=1',
  'sslcrl=x',
  'sslcrldir=x',
  'sslkey=x',
  'sslkeylogfile=x',
  'sslnegotiation=direct',
  'sslpassword=hunter2',
  'sslsni=0',
  'target_session_attrs=standby',
  'tcp_user_timeout=1',
  'toString=x',
]

t.test('every other parameter is refused by name, with what to do instead', async (t) => {
  for (const parameter of REFUSED) {
    const [name] = parameter.split('=')
    const message = refusal(() => parseDatabaseUrl(`postgres://me:p@a/data?${parameter}`))
    t.ok(message.startsWith(`The database URL must not have the parameter "${name}"`), message)
    t.ok(/: [a-z]/.test(message), message)
  }
  t.equal(
    refusal(() => parseDatabaseUrl('postgres://me:p@a/data?channel_binding=require')),
    'The database URL must not have the parameter "channel_binding" with another value than disable, prefer: ' +
      'leave it out, or write prefer: the login is without channel binding; sslmode=verify-full proves the server',
  )
})

t.test('what says no more than what happens anyway is accepted', async (t) => {
  const accepted = [
    ...['channel_binding=disable', 'channel_binding=prefer', 'client_encoding=utf8', 'keepalives=1'],
    ...['target_session_attrs=read-write', 'target_session_attrs=primary', 'target_session_attrs=any'],
    ...['gssencmode=disable', 'gssencmode=prefer', 'load_balance_hosts=disable', 'sslnegotiation=postgres'],
    ...['sslcertmode=allow', 'sslcompression=0', 'sslsni=1', 'ssl_min_protocol_version=TLSv1.2'],
    ...['ssl_max_protocol_version=TLSv1.3', 'min_protocol_version=3.0', 'max_protocol_version=3.0'],
  ]
  for (const parameter of accepted) t.equal(read(`postgres://me:p@a/data?${parameter}`).host, 'a', parameter)
})
