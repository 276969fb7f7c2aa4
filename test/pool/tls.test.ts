import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import type { TlsMode } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import { startTestServer } from '../support/server.ts'
import { targetOf } from '../support/target.ts'

const never = new AbortController().signal

/** selfSigned makes a certificate and a key that a PostgreSQL run by `postgres` or by us will read. */
function selfSigned(folder: string): { key: string; cert: string } {
  const key = join(folder, 'key.pem')
  const cert = join(folder, 'cert.pem')
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

  await t.rejects(
    openConnection(target('verify-full'), never),
    { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
    'verify-full checks the certificate',
  )
  const connection = await openConnection(target('require'), never)
  const [session] = await admin`select ssl from pg_stat_ssl where pid = ${connection.pid}`
  t.strictSame({ ...session }, { ssl: true })

  const slow = connection.run(sql`select pg_sleep(300)`)
  const cancelled = t.rejects(slow.result, { code: '57014' })
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
