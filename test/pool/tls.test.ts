import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import type { TlsMode } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { openSocket } from '../../src/pool/open-socket.ts'
import { RootCertificates } from '../../src/pool/root-certificates.ts'
import { sql } from '../../src/pool/statement.ts'
import { rejectsLike } from '../support/like.ts'
import { startTestServer } from '../support/server.ts'
import { targetOf } from '../support/target.ts'

const never = new AbortController().signal

/** selfSigned makes a certificate and a key that a PostgreSQL run by `postgres` or by us will read. */
function selfSigned(folder: string, name = 'server'): { key: string; cert: string } {
  const key = join(folder, `${name}.key.pem`)
  const cert = join(folder, `${name}.cert.pem`)
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost']
  execFileSync('openssl', [...request, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  if (process.getuid?.() === 0) {
    // Under root the server runs as postgres, and takes a key of root's that its group may read.
    chmodSync(folder, 0o755)
    chownSync(key, 0, Number(execFileSync('id', ['-g', 'postgres'])))
    chmodSync(key, 0o640)
  }
  return { key, cert }
}

t.test('a connection is encrypted when asked, and cancelled and closed as any other', async (t) => {
  const server = await startTestServer()
  t.teardown(() => server.stop())
  const target = (tls: TlsMode) => targetOf(server.url, { tls })

  await t.rejects(openConnection(target('require'), never), /does not accept TLS/)

  const folder = mkdtempSync(join(tmpdir(), 'lessor-tls-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const { key, cert } = selfSigned(folder)
  const admin = postgres(server.url, { max: 1 })
  t.teardown(() => admin.end())
  await admin.unsafe(`alter system set ssl_key_file = '${key}'`)
  await admin.unsafe(`alter system set ssl_cert_file = '${cert}'`)
  await admin.unsafe('alter system set ssl = on')
  await admin`select pg_reload_conf()`
  // The postmaster reloads in its own time; a session that sees the setting was forked after that.
  const reloaded = () => postgresSays(server.url, 'show ssl')
  while ((await reloaded()) !== 'on');

  await rejectsLike(
    t,
    openConnection(target('verify-full'), never),
    { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
    'verify-full checks the certificate',
  )
  const other = selfSigned(folder, 'other')
  const roots = (file: string) => RootCertificates.parse(readFileSync(file, 'utf8'))
  const reach = async (tls: TlsMode, host: string, file: string) => {
    const opened = await openConnection(
      targetOf(server.url, { tls, host, rootCertificates: roots(file) }),
      never,
    )
    const [row] = await admin`select ssl from pg_stat_ssl where pid = ${opened.pid}`
    await opened.close()
    return row?.ssl
  }
  await rejectsLike(
    t,
    openConnection(target('verify-ca'), never),
    { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
    "verify-ca checks the certificate, here by Node's own list",
  )
  t.equal(await reach('verify-ca', '127.0.0.1', cert), true, 'and not the name')
  t.equal(await reach('verify-full', 'localhost', cert), true)
  await rejectsLike(t, reach('verify-full', '127.0.0.1', cert), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  for (const tls of ['verify-ca', 'verify-full'] as const) {
    await rejectsLike(t, reach(tls, 'localhost', other.cert), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  }

  // The name is that of the host, whatever address it has.
  const named = { host: 'localhost', port: Number(new URL(server.url).port), address: '127.0.0.1' }
  for (const [host, code] of [
    ['localhost', undefined],
    ['db.example', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ] as const) {
    const opening = openSocket(
      { ...named, host, tls: 'verify-full', rootCertificates: roots(cert) },
      () => {},
    )
    const failure = await opening.then(
      (socket) => void socket.destroy(),
      (error: { code?: string }) => error.code,
    )
    t.equal(failure, code, host)
  }

  const connection = await openConnection(target('require'), never)
  const [session] = await admin`select ssl from pg_stat_ssl where pid = ${connection.pid}`
  t.strictSame({ ...session }, { ssl: true })

  const slow = connection.run(sql`select pg_sleep(300)`)
  const cancelled = rejectsLike(t, slow.result, { code: '57014' })
  while ((await admin`select 1 from pg_stat_activity where wait_event = 'PgSleep'`).length === 0);
  await slow.cancel()
  await cancelled

  await connection.close()
  t.equal((await admin`select 1 from pg_stat_activity where pid = ${connection.pid}`).length, 0)
})

async function postgresSays(url: string, statement: string): Promise<unknown> {
  const session = postgres(url, { max: 1 })
  try {
    const [row] = await session.unsafe(statement)
    return Object.values(row ?? {})[0]
  } finally {
    await session.end()
  }
}
