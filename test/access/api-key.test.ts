import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { formatApiKey, makeApiKey, parseApiKey } from '../../src/access/api-key.ts'
import { Secret } from '../../src/secret.ts'
import { holds } from '../support/holds.ts'

t.test('a key is read back as it was made', async (t) => {
  for (let i = 0; i < 100; i++) {
    const key = makeApiKey()
    const text = formatApiKey(key).reveal()
    t.match(text, /^lsr_v2_[0-9a-f]{16}_[A-Za-z0-9_-]{43}[A-Za-z0-9]{6}$/)
    const parsed = parseApiKey(text)
    t.equal(parsed?.keyId, key.keyId)
    t.equal(parsed?.secret.reveal(), key.secret.reveal())
  }
})

t.test('a secret carries 256 random bits', async (t) => {
  const secrets = Array.from({ length: 100 }, () => makeApiKey().secret.reveal())
  t.ok(secrets.every((secret) => Buffer.from(secret, 'base64url').length === 32))
  t.equal(new Set(secrets).size, secrets.length)
})

t.test('a key of known parts has a known text', async (t) => {
  const key = { keyId: '0123456789abcdef', secret: new Secret('A'.repeat(43)) }
  const text = `lsr_v2_0123456789abcdef_${'A'.repeat(43)}`
  // CRC-32 as in gzip, computed by another program.
  t.equal(formatApiKey(key).reveal(), `${text}24Cuot`)
})

t.test('a key that was mistyped or cut off anywhere is none', async (t) => {
  const text = formatApiKey(makeApiKey()).reveal()
  for (let length = 0; length < text.length; length++) {
    t.equal(parseApiKey(text.slice(0, length)), undefined, `cut off after ${length} characters`)
  }
  for (let place = 0; place < text.length; place++) {
    const typed = text.slice(0, place) + (text[place] === 'a' ? 'b' : 'a') + text.slice(place + 1)
    t.equal(parseApiKey(typed), undefined, `another character at ${place}`)
  }
  const known = formatApiKey({
    keyId: '0123456789abcdef',
    secret: new Secret(`${'A'.repeat(41)}xy`),
  }).reveal()
  t.ok(parseApiKey(known))
  t.equal(parseApiKey(known.replace('xy', 'yx')), undefined, 'two characters swapped')
})

t.test('a key of the version before, without a checksum, is still one', async (t) => {
  const secret = 'b'.repeat(43)
  const key = parseApiKey(`lsr_0123456789abcdef_${secret}`)
  t.strictSame([key?.keyId, key?.secret.reveal()], ['0123456789abcdef', secret])
})

t.test('a secret with underscores and hyphens is no trap', async (t) => {
  const secret = `${'_-'.repeat(21)}_`
  t.equal(parseApiKey(`lsr_0123456789abcdef_${secret}`)?.secret.reveal(), secret)
})

t.test('anything else is no key', async (t) => {
  const text = formatApiKey(makeApiKey()).reveal()
  const wrong = ['', 'lsr_', text.slice(1), text.slice(0, -1), `${text}x`, ` ${text}`, `${text}\n`]
  wrong.push(
    text.toUpperCase(),
    text.replace('lsr_', 'lsk_'),
    text.replace('_', '-'),
    `${text.slice(0, -1)}=`,
  )
  for (const each of wrong) t.equal(parseApiKey(each), undefined, JSON.stringify(each))
  await holds(
    t,
    fc.property(fc.string(), (any) => parseApiKey(any) === undefined),
  )
  const shaped = fc.stringMatching(/^lsr_[0-9a-g]{15,17}_[A-Za-z0-9_+-]{42,44}$/)
  await holds(
    t,
    fc.property(shaped, (any) => {
      return (parseApiKey(any) !== undefined) === /^lsr_[0-9a-f]{16}_[\w-]{43}$/.test(any)
    }),
  )
})

t.test('inspecting a key does not show its secret', async (t) => {
  const key = makeApiKey()
  const text = formatApiKey(key)
  const shown = inspect([key, text], { showHidden: true, depth: null }) + JSON.stringify([key, text]) + text
  t.notOk(shown.includes(key.secret.reveal()))
  t.ok(shown.includes(key.keyId))
})
