import { createSecretKey, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { generateVaultKeys, KeyRing, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { holds } from '../support/holds.ts'
import { throwsLike } from '../support/like.ts'

const A = 'a1'.repeat(32)
const B = 'b2'.repeat(32)

function message(text: string): string {
  try {
    parseVaultKeys(text)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  return 'no error'
}

t.test('the first key seals and every key opens', async (t) => {
  const ring = parseVaultKeys(` new:${A} ,\n old:${B.toUpperCase()}\n`)
  t.strictSame(await ring.ids(), ['new', 'old'])
  t.equal((await ring.sealingKey()).id, 'new')
  t.strictSame((await ring.find('new'))?.key.export().toString('hex'), A)
  t.strictSame((await ring.find('old'))?.key.export().toString('hex'), B)
  t.equal(await ring.find('other'), undefined)
})

t.test('a generated ring is read back', async (t) => {
  const ring = parseVaultKeys(generateVaultKeys())
  t.equal((await ring.ids()).length, 1)
  t.not(generateVaultKeys(), generateVaultKeys())
})

t.test('what is wrong is said, by the place of the entry', async (t) => {
  t.equal(message(''), 'there must be at least one vault key, as in <id>:<64 hex digits>')
  t.equal(message(' \n'), 'there must be at least one vault key, as in <id>:<64 hex digits>')
  t.equal(message(`a:${A},`), 'entry 2 must have the form <id>:<64 hex digits>')
  t.equal(message(A), 'entry 1 must have the form <id>:<64 hex digits>')
  t.equal(message(`a:${A}:${B}`), 'entry 1 must have the form <id>:<64 hex digits>')
  t.equal(message(`:${A}`), 'the id of entry 1 must be 1 to 32 letters, digits, "_" or "-"')
  t.equal(message(`a:${A},b c:${B}`), 'the id of entry 2 must be 1 to 32 letters, digits, "_" or "-"')
  t.equal(message(`${B}:${A}`), 'the id of entry 1 must be 1 to 32 letters, digits, "_" or "-"')
  t.equal(message(`a:${A.slice(1)}`), 'the key of entry 1 must be 64 hex digits, not 63 characters')
  t.equal(message(`a:${A}0`), 'the key of entry 1 must be 64 hex digits, not 65 characters')
  t.equal(message(`a:${A.slice(1)}g`), 'the key of entry 1 must be 64 hex digits, not 64 characters')
  t.equal(message(`a:${A},b:${B},a:${B}`), 'entries 1 and 3 have the same id')
  t.equal(message(`a:${A},b:${B},c:${B}`), 'entries 2 and 3 have the same key')
  throwsLike(t, () => new KeyRing([]), { message: 'there must be at least one vault key' })
})

t.test('no error holds a piece of a key, whatever was mistyped', async (t) => {
  const secret = randomBytes(32).toString('hex')
  const mutilated = fc
    .record({
      before: fc.constantFrom('', ':', 'k:', 'k', ' : ', 'k:k:', `k:${B},`, `k:${secret},`),
      at: fc.nat({ max: 63 }),
      put: fc.constantFrom('', ' ', ':', ',', 'x', '0'),
      after: fc.constantFrom('', ':', ',', `,k:${secret}`, `,${secret}`),
    })
    .map(({ before, at, put, after }) => before + secret.slice(0, at) + put + secret.slice(at) + after)
  await holds(
    t,
    fc.property(mutilated, (text) => {
      const said = message(text)
      for (let i = 0; i + 8 <= secret.length; i++) {
        if (said.includes(secret.slice(i, i + 8))) return false
      }
      return true
    }),
  )
})

t.test('inspecting a ring or a key shows no key', async (t) => {
  const bytes = randomBytes(32)
  const key = { id: 'k', key: createSecretKey(bytes) }
  for (const shown of [new KeyRing([key]), key]) {
    const texts = [inspect(shown, { depth: null, showHidden: true }), JSON.stringify(shown), String(shown)]
    for (const text of texts) {
      t.notOk(text.includes(bytes.toString('hex')))
      t.notOk(text.includes(bytes.toString('base64')))
      t.notOk(text.includes([...bytes.subarray(0, 4)].join(',')))
    }
  }
})
