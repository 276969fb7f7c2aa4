import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { rejectsLike } from '../support/like.ts'
import { inDatabase, registrationOf, Target } from './target.ts'

t.test('a URL that cannot be used is told in a sentence', async (t) => {
  await rejectsLike(t, Target.open('postgres://me:hunter2%@localhost/data'), {
    name: 'UnusableTarget',
    message:
      'The password in the database URL has a % that begins no percent-encoded UTF-8 character; write %25 for a percent sign',
  })
})

t.test('the database of a URL is exchanged, also with several hosts', async (t) => {
  t.equal(
    inDatabase('postgres://me:p@a:1,b:2/data?sslmode=require', 'x'),
    'postgres://me:p@a:1,b:2/x?sslmode=require',
  )
  t.equal(inDatabase('postgres://me:p@a', 'x'), 'postgres://me:p@a/x')
  t.equal(parseDatabaseUrl(inDatabase('postgres://me:p@a?dbname=d&sslmode=require', 'x')).database, 'x')
  t.equal(parseDatabaseUrl(inDatabase('postgres://me:p@a?sslmode=require&dbname=d', 'x')).database, 'x')
})

t.test('a server is registered with the certificates of the file that its URL names', async (t) => {
  const cert = join(t.testdir(), 'ca.pem')
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=ca']
  execFileSync('openssl', [...request, '-keyout', '/dev/null', '-out', cert], { stdio: 'ignore' })
  const of = (url: string) => {
    const { url: sent, ...rest } = registrationOf({ url, address: parseDatabaseUrl(url) })
    return { url: sent.reveal(), ...rest }
  }
  const rootCertificates = parseDatabaseUrl(`postgres://me:p@a/d?sslmode=verify-ca&sslrootcert=${cert}`)
    .rootCertificates?.text
  t.strictSame(of(`postgres://me:p@a/d?sslmode=verify-ca&sslrootcert=${cert}`), {
    url: 'postgres://me:p@a/d',
    tls: 'verify-ca',
    rootCertificates,
  })
  t.strictSame(of(`postgres://me:p@a/d?keepalives=1&sslrootcert=${cert}&sslsni=1&sslmode=verify-full`), {
    url: 'postgres://me:p@a/d?keepalives=1&sslsni=1',
    tls: 'verify-full',
    rootCertificates,
  })
  t.strictSame(of('postgres://me:p@a/d?sslrootcert=system'), {
    url: 'postgres://me:p@a/d?sslrootcert=system',
  })
})
