import t from 'tap'
import { makeApiKey } from '../../src/access/api-key.ts'
import { argon2idHasher } from '../../src/access/secret-hasher.ts'

t.test('a hash fits its own secret only, and two hashes of one secret differ', async (t) => {
  const key = makeApiKey()
  const [one, two] = [await argon2idHasher.hash(key), await argon2idHasher.hash(key)]
  t.not(one, two)
  t.equal(await argon2idHasher.verify(one, key), true)
  t.equal(await argon2idHasher.verify(two, key), true)
  t.equal(await argon2idHasher.verify(one, makeApiKey()), false)
})

t.test('a hash is argon2id with 19 MiB, two passes and one lane', async (t) => {
  const hash = await argon2idHasher.hash(makeApiKey())
  t.ok(hash.startsWith('$argon2id$v=19$m=19456,t=2,p=1$'), hash)
})
