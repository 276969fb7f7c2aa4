import { inspect } from 'node:util'
import t from 'tap'
import { KeyedDigest } from '../../src/access/keyed-digest.ts'
import { excludes } from '../support/like.ts'

t.test('a digest tells secrets apart, and only within its own process', async (t) => {
  const one = new KeyedDigest()
  t.match(one.digest('secret'), /^[0-9a-f]{64}$/)
  t.equal(one.digest('secret'), one.digest('secret'))
  t.not(one.digest('secret'), one.digest('secreT'))
  t.not(one.digest('secret'), new KeyedDigest().digest('secret'))
})

t.test('digests are compared whole', async (t) => {
  const digests = new KeyedDigest()
  const digest = digests.digest('secret')
  t.equal(digests.equal(digest, digests.digest('secret')), true)
  for (const at of [0, 31, 63]) {
    const other = `${digest.slice(0, at)}${digest[at] === '0' ? '1' : '0'}${digest.slice(at + 1)}`
    t.equal(digests.equal(digest, other), false, `a difference at ${at}`)
  }
})

t.test('printing shows no key and no secret', async (t) => {
  const digests = new KeyedDigest()
  digests.digest('a secret to be kept')
  excludes(t, inspect(digests, { showHidden: true, depth: 5 }), /[0-9a-f]{32}|kept/)
})
