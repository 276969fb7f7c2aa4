import { createSecretKey, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { isLessorError, LessorError } from '../../src/errors.ts'
import { decodeEnvelope, encodeEnvelope } from '../../src/vault/envelope.ts'
import { type KeyProvider, KeyRing, type VaultKey } from '../../src/vault/key-ring.ts'
import { additionalData } from '../../src/vault/seal-context.ts'
import { type SealContext, Vault } from '../../src/vault/vault.ts'
import { holds } from '../support/holds.ts'
import { like, rejectsLike, throwsLike } from '../support/like.ts'

const CONTEXT: SealContext = { tenantId: '3f2b8c1e-0000-4000-8000-000000000001', purpose: 'login' }

function vaultKey(id: string): VaultKey {
  return { id, key: createSecretKey(randomBytes(32)) }
}

function vaultOf(...keys: readonly VaultKey[]): Vault {
  return new Vault(new KeyRing(keys))
}

const bytes = fc.uint8Array({ maxLength: 200 })
const text = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' })
const context: fc.Arbitrary<SealContext> = fc.record({ tenantId: text, purpose: text })
const keyId = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/)

async function fails(vault: Vault, envelope: Uint8Array, context: SealContext): Promise<boolean> {
  try {
    await vault.open(envelope, context)
    return false
  } catch (error) {
    return isLessorError(error, 'VAULT_OPEN_FAILED')
  }
}

t.test('any bytes open again under their own context', async (t) => {
  await holds(
    t,
    fc.asyncProperty(bytes, context, keyId, async (plaintext, context, id) => {
      const vault = vaultOf(vaultKey(id))
      const envelope = await vault.seal(plaintext, context)
      return vault.keyId(envelope) === id && (await vault.open(envelope, context)).equals(plaintext)
    }),
  )
})

t.test('a text is sealed as UTF-8, and the bytes handed in are left alone', async (t) => {
  const vault = vaultOf(vaultKey('k'))
  t.equal((await vault.open(await vault.seal('pässwort €', CONTEXT), CONTEXT)).toString(), 'pässwort €')
  const given = Uint8Array.of(1, 2, 3)
  await vault.seal(given, CONTEXT)
  t.strictSame([...given], [1, 2, 3])
})

t.test('an envelope has the documented layout and no plaintext in it', async (t) => {
  const envelope = await vaultOf(vaultKey('k-7')).seal('a plain password', CONTEXT)
  t.equal(envelope.length, 1 + 1 + 3 + 12 + 16 + 16)
  t.strictSame([...envelope.subarray(0, 5)], [1, 3, ...Buffer.from('k-7')])
  t.notOk(envelope.includes('plain'))
})

t.test('two seals of one value share nothing', async (t) => {
  const vault = vaultOf(vaultKey('k'))
  const [one, two] = [await vault.seal('same', CONTEXT), await vault.seal('same', CONTEXT)]
  t.notOk(one.subarray(3, 15).equals(two.subarray(3, 15)), 'nonce')
  t.notOk(one.subarray(15).equals(two.subarray(15)), 'ciphertext and tag')
})

t.test('an envelope with any one bit flipped does not open', async (t) => {
  // Keys whose ids are one bit apart, so that a flipped id still names a key.
  const vault = vaultOf(vaultKey('b'), vaultKey('c'), vaultKey('a'), vaultKey('cc'))
  await holds(
    t,
    fc.asyncProperty(bytes, context, fc.nat(), async (plaintext, context, at) => {
      const envelope = await vault.seal(plaintext, context)
      const bit = at % (envelope.length * 8)
      envelope.writeUInt8(envelope.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      return fails(vault, envelope, context)
    }),
    { numRuns: 1000 },
  )
})

t.test('an envelope cut or grown at either end does not open', async (t) => {
  const vault = vaultOf(vaultKey('k'))
  await holds(
    t,
    fc.asyncProperty(bytes, fc.nat(), bytes, async (plaintext, at, more) => {
      const envelope = await vault.seal(plaintext, CONTEXT)
      const cut = at % envelope.length
      const grown = more.length === 0 ? Uint8Array.of(0) : more
      const wrong = [
        envelope.subarray(0, cut),
        envelope.subarray(cut + 1),
        Buffer.concat([envelope, grown]),
        Buffer.concat([grown, envelope]),
      ]
      return (await Promise.all(wrong.map((each) => fails(vault, each, CONTEXT)))).every(Boolean)
    }),
  )
})

t.test('arbitrary bytes do not open', async (t) => {
  const vault = vaultOf(vaultKey('k'))
  const shaped = fc
    .tuple(bytes, bytes)
    .map(([head, tail]) => Buffer.concat([Buffer.from('\x01\x01k'), head, tail]))
  await holds(
    t,
    fc.asyncProperty(fc.oneof(bytes, shaped), (garbage) => fails(vault, garbage, CONTEXT)),
  )
})

t.test('an envelope does not open for another tenant, purpose or key', async (t) => {
  await holds(
    t,
    fc.asyncProperty(bytes, context, context, async (plaintext, own, other) => {
      const vault = vaultOf(vaultKey('k'))
      const envelope = await vault.seal(plaintext, own)
      const others = [
        { tenantId: other.tenantId, purpose: own.purpose },
        { tenantId: own.tenantId, purpose: other.purpose },
        { tenantId: own.purpose, purpose: own.tenantId },
        // A part moved over the border between the two texts.
        { tenantId: own.tenantId + own.purpose.slice(0, 1), purpose: own.purpose.slice(1) },
      ].filter((each) => each.tenantId !== own.tenantId || each.purpose !== own.purpose)
      const refused = await Promise.all(others.map((each) => fails(vault, envelope, each)))
      return refused.every(Boolean) && (await fails(vaultOf(vaultKey('k')), envelope, own))
    }),
  )
})

t.test(
  'an envelope that is relabelled with another key id does not open, even under the same key',
  async (t) => {
    const { key } = vaultKey('')
    const envelope = await vaultOf({ id: 'k1', key }).seal('x', CONTEXT)
    const relabelled = Buffer.from(envelope)
    relabelled.write('k2', 2)
    t.ok(await fails(vaultOf({ id: 'k2', key }), relabelled, CONTEXT))
    t.equal((await vaultOf({ id: 'k1', key }).open(envelope, CONTEXT)).toString(), 'x')
  },
)

t.test('different contexts never share additional data', async (t) => {
  const border = '\0\0\0\0'
  const [left, right] = [
    { tenantId: 'a', purpose: `b${border}c` },
    { tenantId: `a${border}b`, purpose: 'c' },
  ]
  t.notOk(additionalData(left, 'k').equals(additionalData(right, 'k')))
  const distinct = (a: SealContext, b: SealContext) => a.tenantId !== b.tenantId || a.purpose !== b.purpose
  await holds(
    t,
    fc.asyncProperty(context, context, keyId, keyId, async (a, b, idA, idB) => {
      fc.pre(distinct(a, b) || idA !== idB)
      return !additionalData(a, idA).equals(additionalData(b, idB))
    }),
  )
})

t.test('a context with an empty or ill-formed part is refused', async (t) => {
  const vault = vaultOf(vaultKey('k'))
  for (const purpose of ['', 'login\ud800']) {
    await t.rejects(vault.seal('x', { ...CONTEXT, purpose }), TypeError)
    t.ok(await fails(vault, await vault.seal('x', CONTEXT), { ...CONTEXT, purpose }))
  }
})

t.test('an error names the part of a context that is wrong', async (t) => {
  for (const [name, context, id] of [
    ['keyId', CONTEXT, ''],
    ['tenantId', { ...CONTEXT, tenantId: '' }, 'k'],
    ['purpose', { ...CONTEXT, purpose: '\ud800' }, 'k'],
  ] as const)
    throwsLike(t, () => additionalData(context, id), {
      name: 'TypeError',
      message: new RegExp(`^"${name}" of `),
    })
})

t.test('a ring of many keys opens what each of them sealed and seals with the first', async (t) => {
  const keys = Array.from({ length: 20 }, (_, i) => vaultKey(`k${i}`))
  const envelopes = await Promise.all(keys.map((key) => vaultOf(key).seal(key.id, CONTEXT)))
  const vault = vaultOf(...keys)
  for (const [i, envelope] of envelopes.entries()) {
    t.equal((await vault.open(envelope, CONTEXT)).toString(), `k${i}`)
  }
  t.equal(vault.keyId(await vault.seal('x', CONTEXT)), 'k0')
})

t.test('resealing moves the content to the first key, bound as before', async (t) => {
  const [old, fresh] = [vaultKey('old'), vaultKey('new')]
  const before = await vaultOf(old).seal('content', CONTEXT)
  const after = await vaultOf(fresh, old).reseal(before, CONTEXT)
  t.equal(vaultOf(old).keyId(before), 'old')
  t.equal(vaultOf(old).keyId(after), 'new')
  t.equal((await vaultOf(fresh).open(after, CONTEXT)).toString(), 'content')
  t.ok(await fails(vaultOf(fresh), after, { ...CONTEXT, purpose: 'other' }))
  await rejectsLike(t, vaultOf(fresh).reseal(before, CONTEXT), { code: 'VAULT_OPEN_FAILED' })
  await rejectsLike(t, vaultOf(fresh, old).reseal(before, { ...CONTEXT, tenantId: 'x' }), {
    code: 'VAULT_OPEN_FAILED',
  })
})

t.test('every failure to open looks the same and carries no cause', async (t) => {
  const vault = vaultOf(vaultKey('k'))
  const envelope = await vault.seal('x', CONTEXT)
  const broken: KeyProvider = {
    sealingKey: () => Promise.reject(new Error('unreachable')),
    find: () => Promise.reject(new Error('unreachable')),
    ids: () => Promise.resolve([]),
  }
  const attempts = [
    () => vault.open(Buffer.alloc(0), CONTEXT),
    () => vault.open(envelope.subarray(1), CONTEXT),
    () => vault.open(envelope, { ...CONTEXT, tenantId: 'other' }),
    () => vault.open(envelope, { ...CONTEXT, tenantId: '' }),
    () => vaultOf(vaultKey('k')).open(envelope, CONTEXT),
    () => vaultOf(vaultKey('l')).open(envelope, CONTEXT),
    () => new Vault(broken).open(envelope, CONTEXT),
    async () => vault.keyId(Buffer.from('none')),
  ]
  for (const attempt of attempts) {
    const error = await attempt().catch((error: unknown) => error)
    t.ok(error instanceof LessorError)
    like(t, error, { code: 'VAULT_OPEN_FAILED', message: 'A sealed credential could not be opened.' })
    t.notOk(error instanceof Error && 'cause' in error)
  }
})

t.test('the observer hears of each operation once, with its outcome', async (t) => {
  const heard: string[] = []
  const keys = new KeyRing([vaultKey('k')])
  const vault = new Vault(keys, { operation: (operation, outcome) => heard.push(`${operation} ${outcome}`) })
  const envelope = await vault.seal('x', CONTEXT)
  await vault.open(envelope, CONTEXT)
  await vault.reseal(envelope, CONTEXT)
  const wrong = { ...CONTEXT, purpose: 'other' }
  await rejectsLike(t, vault.open(envelope, wrong), { code: 'VAULT_OPEN_FAILED' })
  await rejectsLike(t, vault.reseal(envelope, wrong), { code: 'VAULT_OPEN_FAILED' })
  await t.rejects(vault.seal('x', { ...CONTEXT, purpose: '' }), TypeError)
  t.strictSame(heard, ['seal ok', 'open ok', 'reseal ok', 'open failed', 'reseal failed', 'seal failed'])
})

t.test('inspecting a vault shows nothing of it', async (t) => {
  const vault = vaultOf(vaultKey('k'))
  t.equal(inspect(vault, { depth: null, showHidden: true }), 'Vault {}')
  t.equal(JSON.stringify(vault), '{}')
})

t.test('an envelope is decoded as it was encoded, and only with a well-formed key id', async (t) => {
  const sealed = { nonce: randomBytes(12), ciphertext: randomBytes(5), tag: randomBytes(16) }
  const { nonce, ciphertext, tag, keyId } = decodeEnvelope(encodeEnvelope({ keyId: 'k', ...sealed })) ?? {}
  t.strictSame({ nonce, ciphertext, tag, keyId }, { ...sealed, keyId: 'k' })
  for (const bad of ['', 'a b', 'ä', 'x'.repeat(33)]) {
    t.throws(() => encodeEnvelope({ keyId: bad, ...sealed }), TypeError)
    const forged = Buffer.concat([Uint8Array.of(1, bad.length), Buffer.from(bad, 'latin1'), Buffer.alloc(40)])
    t.equal(decodeEnvelope(forged), undefined)
  }
  const whole = encodeEnvelope({ keyId: 'k', ...sealed, ciphertext: Buffer.alloc(0) })
  t.ok(decodeEnvelope(whole))
  for (let length = 0; length < whole.length; length++) {
    t.equal(decodeEnvelope(whole.subarray(0, length)), undefined)
  }
})
