import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { formatApiKey, makeApiKey, parseApiKey } from '../../src/access/api-key.ts'
import { holds } from '../support/holds.ts'

t.test('a key is read back as it was made', async (t) => {
  for (let i = 0; i < 100; i++) {
    const key = makeApiKey()
    const text = formatApiKey(key).reveal()
    t.match(text, /^lsr_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/)
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
  holds(
    t,
    fc.property(fc.string(), (any) => parseApiKey(any) === undefined),
  )
  const shaped = fc.stringMatching(/^lsr_[0-9a-g]{15,17}_[A-Za-z0-9_+-]{42,44}$/)
  holds(
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
