import { createHmac, createSecretKey } from 'node:crypto'
import t from 'tap'
import { makeApiKey } from '../../src/access/api-key.ts'
import type { HashKey } from '../../src/access/hash-keys.ts'
import { MacHasher } from '../../src/access/mac-hasher.ts'
import { argon2idHasher } from '../../src/access/secret-hasher.ts'
import { Secret } from '../../src/secret.ts'

const hashKey = (id: string, fill: number): HashKey => ({ id, key: createSecretKey(Buffer.alloc(32, fill)) })
const OLD = hashKey('00000001', 1)
const NEW = hashKey('00000002', 2)

/** A hasher that knows these keys and hashes with the last of them. */
function hasherWith(...keys: readonly HashKey[]) {
  return new MacHasher({
    current: async () => keys.at(-1),
    find: async (id) => keys.find((key) => key.id === id),
  })
}

t.test('a hash is HMAC-SHA-256 of id and secret, and names its key', async (t) => {
  const key = { keyId: '0123456789abcdef', secret: new Secret('s'.repeat(43)) }
  const mac = createHmac('sha256', Buffer.alloc(32, 2)).update(`0123456789abcdef${'s'.repeat(43)}`)
  t.equal(await hasherWith(OLD, NEW).hash(key), `hmac-sha-256$00000002$${mac.digest('base64url')}`)
})

t.test('a hash fits its own key, whichever hash key is in use by now', async (t) => {
  const key = makeApiKey()
  const hash = await hasherWith(OLD).hash(key)
  t.equal(await hasherWith(OLD, NEW).verify(hash, key), true)
  t.equal(await hasherWith(OLD, NEW).verify(hash, makeApiKey()), false)
  t.equal(await hasherWith(NEW).verify(hash, key), false, 'under a hash key that is not there')
  const forged = hasherWith(hashKey(OLD.id, 3))
  t.equal(await forged.verify(hash, key), false, 'under other bytes of the same id')
})

t.test('a hash fits nothing in the row of another key', async (t) => {
  const [own, other] = [makeApiKey(), makeApiKey()]
  const hasher = hasherWith(NEW)
  const copied = await hasher.hash(own)
  t.equal(await hasher.verify(copied, { keyId: other.keyId, secret: own.secret }), false)
})

t.test('hashes of argon2id are verified, and made as long as there is no hash key', async (t) => {
  const key = makeApiKey()
  const before = await hasherWith().hash(key)
  t.ok(before.startsWith('$argon2id$'), before)
  t.equal(await hasherWith(NEW).verify(before, key), true)
  t.equal(await hasherWith(NEW).verify(before, makeApiKey()), false)
  t.equal(await argon2idHasher.verify(before, key), true)
})

t.test('only what takes an argon2 is slow', async (t) => {
  const key = makeApiKey()
  const hasher = hasherWith(NEW)
  t.equal(hasher.isSlow(await hasher.hash(key)), false)
  t.equal(hasher.isSlow(await argon2idHasher.hash(key)), true)
})

t.test('what is no hash fits nothing', async (t) => {
  const hasher = hasherWith(NEW)
  const key = makeApiKey()
  const good = await hasher.hash(key)
  for (const hash of ['hmac-sha-256', 'hmac-sha-256$00000002$', good.slice(0, -1), `${good}A`, `${good}\n`])
    t.equal(await hasher.verify(hash, key), false, JSON.stringify(hash))
})
