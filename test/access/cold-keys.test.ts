import t, { type Test } from 'tap'
import { formatApiKey, makeApiKey } from '../../src/access/api-key.ts'
import { Authenticator, type AuthenticatorOptions } from '../../src/access/authenticator.ts'
import { HashKeys } from '../../src/access/hash-keys.ts'
import { MacHasher } from '../../src/access/mac-hasher.ts'
import { argon2idHasher } from '../../src/access/secret-hasher.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { generateVaultKeys, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'
import { like, throwsLike } from '../support/like.ts'
import { addNamespace, CountingDb, controlDatabase, ManualClock, OPERATOR_KEY } from './helpers.ts'

const control = await controlDatabase(t)
const ring = parseVaultKeys(generateVaultKeys())
const clock = new ManualClock()
const hashKeys = new HashKeys({ db: control, vault: new Vault(ring), keys: ring, clock })
await hashKeys.start()
const hasher = new MacHasher(hashKeys)
const namespaceId = await addNamespace(control)

/** An authenticator that has seen no key yet, as after a start. */
function restarted(options: Partial<AuthenticatorOptions> = {}) {
  const db = new CountingDb(control)
  const operatorKey = new Secret(OPERATOR_KEY)
  return { db, authenticator: new Authenticator({ db, hasher, clock, operatorKey, ...options }) }
}

async function store(keys: readonly { readonly keyId: string; readonly hash: string }[]) {
  await control.query(sql`
    insert into lessor.api_keys (id, namespace_id, hash)
    select id, ${namespaceId}::uuid, hash
    from unnest(${keys.map(({ keyId }) => keyId)}::text[], ${keys.map(({ hash }) => hash)}::text[]) as k (id, hash)`)
}

async function hashOf(keyId: string): Promise<string | undefined> {
  const [row] = await control.query<{ hash: string }>(
    sql`select hash from lessor.api_keys where id = ${keyId}`,
  )
  return row?.hash
}

/** Keys of the version before: their text and their hash. */
async function oldKeys(count: number) {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const key = makeApiKey()
      const token = `lsr_${key.keyId}_${key.secret.reveal()}`
      return { ...key, token, hash: await argon2idHasher.hash(key) }
    }),
  )
}

async function until(t: Test, isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setImmediate(resolve))
  t.pass('it came to be so')
}

t.test(
  'five thousand keys at once, none of which was seen before, are all let in by few look-ups',
  async (t) => {
    const keys = await Promise.all(
      Array.from({ length: 5_000 }, async () => {
        const key = makeApiKey()
        return { ...key, hash: await hasher.hash(key) }
      }),
    )
    await store(keys)
    const { authenticator, db } = restarted()
    const principals = await Promise.all(
      keys.map((key) => authenticator.authenticate(formatApiKey(key).reveal())),
    )
    t.strictSame(
      principals.map((principal) => principal.kind === 'api_key' && principal.keyId),
      keys.map(({ keyId }) => keyId),
    )
    t.ok(db.queries <= 20, `${db.queries} look-ups`)
  },
)

t.test(
  'keys of the version before wait in line, are all let in, and are fast at the next start',
  async (t) => {
    const keys = await oldKeys(70)
    await store(keys)
    const { authenticator } = restarted()
    const principals = await Promise.all(keys.map(({ token }) => authenticator.authenticate(token)))
    t.ok(principals.every(({ kind }) => kind === 'api_key'))
    await until(t, async () => {
      const hashes = await Promise.all(keys.map(({ keyId }) => hashOf(keyId)))
      return hashes.every((hash) => hash !== undefined && !hasher.isSlow(hash))
    })
    // One that verifies nothing slow.
    const { authenticator: next } = restarted({
      hasher: {
        isSlow: (hash) => hasher.isSlow(hash),
        hash: (key) => hasher.hash(key),
        faster: (key) => hasher.faster(key),
        verify: (hash, key) => {
          if (hasher.isSlow(hash)) throw new Error(`slow: ${hash}`)
          return hasher.verify(hash, key)
        },
      },
    })
    for (const { keyId, token } of keys) like(t, await next.authenticate(token), { kind: 'api_key', keyId })
  },
)

t.test('a wrong secret is refused in either form, and changes no hash', async (t) => {
  const [old] = await oldKeys(1)
  if (old === undefined) throw new Error('there is one')
  await store([old])
  const { authenticator } = restarted()
  const { secret } = makeApiKey()
  for (const token of [
    `lsr_${old.keyId}_${secret.reveal()}`,
    formatApiKey({ keyId: old.keyId, secret }).reveal(),
  ]) {
    const refused = await Promise.resolve(authenticator.authenticate(token)).then(
      () => 'let in',
      (error) => error.code,
    )
    t.equal(refused, 'UNAUTHENTICATED')
  }
  t.equal(await hashOf(old.keyId), old.hash)
})

t.test('a key that was cut off or mistyped is refused without a query', async (t) => {
  const { authenticator, db } = restarted()
  const token = formatApiKey(makeApiKey()).reveal()
  for (const wrong of [
    token.slice(0, -1),
    token.slice(0, -6),
    token.slice(0, -7),
    `${token.slice(0, -1)}!`,
  ]) {
    throwsLike(t, () => authenticator.authenticate(wrong), { code: 'UNAUTHENTICATED' })
  }
  t.equal(db.queries, 0)
})

t.test('a hash that became another one meanwhile is not replaced', async (t) => {
  const [old] = await oldKeys(1)
  if (old === undefined) throw new Error('there is one')
  await store([old])
  const failures: unknown[] = []
  const upgraded = Promise.withResolvers<void>()
  const { authenticator } = restarted({
    onUpgradeFailed: (error) => failures.push(error),
    hasher: {
      isSlow: (hash) => hasher.isSlow(hash),
      verify: (hash, key) => hasher.verify(hash, key),
      hash: (key) => hasher.hash(key),
      async faster(key) {
        await control.query(sql`update lessor.api_keys set hash = 'another' where id = ${old.keyId}`)
        upgraded.resolve()
        return hasher.faster(key)
      },
    },
  })
  await authenticator.authenticate(old.token)
  await upgraded.promise
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.strictSame([await hashOf(old.keyId), failures], ['another', []])
})

t.test('a hash that cannot be stored is told of, and the key is let in', async (t) => {
  const [old] = await oldKeys(1)
  if (old === undefined) throw new Error('there is one')
  await store([old])
  const { promise, resolve } = Promise.withResolvers<unknown>()
  const { authenticator, db } = restarted({ onUpgradeFailed: resolve })
  db.after = async () => {
    db.before = async () => {
      throw new Error('the control database is away')
    }
  }
  like(t, await authenticator.authenticate(old.token), { kind: 'api_key', keyId: old.keyId })
  like(t, await promise, { message: 'the control database is away' })
  t.equal(await hashOf(old.keyId), old.hash)
})
