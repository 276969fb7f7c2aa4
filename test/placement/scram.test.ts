import { createHash, createHmac } from 'node:crypto'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import {
  isScramVerifier,
  randomPassword,
  SCRAM_ITERATIONS,
  scramVerifier,
} from '../../src/placement/scram.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { ident, sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin } from './support.ts'

t.test('the verifier fits the example exchange of RFC 7677, section 3', async (t) => {
  const verifier = scramVerifier(new Secret('pencil'), {
    iterations: 4096,
    salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  })
  const [, storedKey = '', serverKey = ''] =
    /^SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$(.+):(.+)$/.exec(verifier) ?? []
  const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
  const message =
    `n=user,r=rOprNGfwEbeRWgbNEkqO,r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,` + `c=biws,r=${nonce}`
  const signature = hmac(storedKey, message)
  const proof = Buffer.from('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=', 'base64')
  const clientKey = proof.map((byte, i) => byte ^ (signature[i] ?? 0))
  t.equal(createHash('sha256').update(clientKey).digest('base64'), storedKey, 'the client proves itself')
  t.equal(hmac(serverKey, message).toString('base64'), '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
})

t.test('PostgreSQL makes the same verifier from the same password and salt', async (t) => {
  const admin = openAdmin(t, (await testDatabase(t)).url)
  const role = `scram_${randomPassword().reveal().slice(0, 8)}`
  t.teardown(() => admin.query(sql`drop role ${ident(role)}`))
  await admin.query(sql`create role ${ident(role)} password 'correct horse battery staple'`)
  const [row] = await admin.query<{ verifier: string }>(
    sql`select rolpassword as verifier from pg_authid where rolname = ${role}`,
  )
  const verifier = row?.verifier ?? ''
  const [, iterations, salt = ''] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$/.exec(verifier) ?? []
  t.equal(
    scramVerifier(new Secret('correct horse battery staple'), {
      iterations: Number(iterations),
      salt: Buffer.from(salt, 'base64'),
    }),
    verifier,
  )
})

t.test('a login by the default verifier works, and only with its password', async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const role = `scram_${randomPassword().reveal().slice(0, 8)}`
  const password = randomPassword()
  const verifier = scramVerifier(password)
  t.teardown(() => admin.query(sql`drop role ${ident(role)}`))
  const [row] = await admin.query<{ ddl: string }>(
    sql`select format('create role %I login password %L', ${role}::text, ${verifier}::text) as ddl`,
  )
  await admin.script(row?.ddl ?? '')
  sameRows(t, await admin.query(sql`select rolpassword from pg_authid where rolname = ${role}`), [
    { rolpassword: verifier },
  ])

  const { host, port, database, tls } = parseDatabaseUrl(url)
  const login = (password: Secret) =>
    openConnection(
      { server: 'default', host, port, database, tls, user: role, password, parameters: {} },
      AbortSignal.timeout(10_000),
    )
  const connection = await login(password)
  sameRows(t, await connection.run(sql`select current_user as name`).result, [{ name: role }])
  await connection.close()
  await rejectsLike(t, login(randomPassword()), { code: '28P01' })
})

t.test('every verifier has a salt of its own and tells nothing of the password', async (t) => {
  const password = randomPassword()
  const [one, two] = [scramVerifier(password), scramVerifier(password)]
  t.not(one, two)
  t.ok(one.startsWith(`SCRAM-SHA-256$${SCRAM_ITERATIONS}:`))
  t.notOk(one.includes(password.reveal()))
})

t.test('a verifier is told from a plain password', async (t) => {
  t.ok(isScramVerifier(scramVerifier(randomPassword())))
  t.ok(isScramVerifier(scramVerifier(randomPassword(), { iterations: 4096, salt: Buffer.alloc(7) })))
  const [head, keys = ''] = scramVerifier(randomPassword()).split(/(?<=\$.+)\$/)
  for (const text of [
    '',
    'secret',
    'SCRAM-SHA-256$',
    `${head}`,
    `${head}$${keys.slice(1)}`,
    `${head}$${keys} `,
  ]) {
    t.notOk(isScramVerifier(text), text)
  }
})

t.test('a password that SASLprep would change is refused', async (t) => {
  for (const text of ['', 'naïve', 'a\u00a0b', 'a\tb', 'a\u0000b']) {
    t.throws(() => scramVerifier(new Secret(text)), TypeError)
  }
})

t.test('a random password has 256 bits and never prints itself', async (t) => {
  const password = randomPassword()
  t.equal(Buffer.from(password.reveal(), 'base64url').length, 32)
  t.not(password.reveal(), randomPassword().reveal())
  t.equal(`${password}`, '[secret]')
})

function hmac(key: string, data: string): Buffer {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(data).digest()
}
