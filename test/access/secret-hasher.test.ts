import { parseOptions } from '@node-rs/argon2'
import t from 'tap'
import { makeApiKey } from '../../src/access/api-key.ts'
import { argon2idHasher, UNMATCHABLE_HASH } from '../../src/access/secret-hasher.ts'

t.test('a hash fits its own secret only, and two hashes of one secret differ', async (t) => {
  const { secret } = makeApiKey()
  const [one, two] = [await argon2idHasher.hash(secret), await argon2idHasher.hash(secret)]
  t.not(one, two)
  t.equal(await argon2idHasher.verify(one, secret), true)
  t.equal(await argon2idHasher.verify(two, secret), true)
  t.equal(await argon2idHasher.verify(one, makeApiKey().secret), false)
})

t.test(
  'the hash that stands in for an unknown key costs as much as a real one and fits nothing',
  async (t) => {
    t.same(parseOptions(UNMATCHABLE_HASH), parseOptions(await argon2idHasher.hash(makeApiKey().secret)))
    t.equal(await argon2idHasher.verify(UNMATCHABLE_HASH, makeApiKey().secret), false)
  },
)
