import { createSecretKey } from 'node:crypto'
import t from 'tap'
import { gcmOpen, gcmSeal } from '../../src/vault/gcm.ts'
import { throwsLike } from '../support/like.ts'
import { GCM_VECTORS, type GcmVector } from './gcm-vectors.ts'

function read(vector: GcmVector) {
  const hex = (text: string) => Buffer.from(text, 'hex')
  return {
    key: createSecretKey(hex(vector.key)),
    nonce: hex(vector.nonce),
    plaintext: hex(vector.plaintext),
    additionalData: hex(vector.additionalData),
    ciphertext: hex(vector.ciphertext),
    tag: hex(vector.tag),
  }
}

t.test("sealing gives the ciphertext and tag of NIST's known answers", async (t) => {
  for (const [index, vector] of GCM_VECTORS.entries()) {
    const { key, nonce, additionalData, plaintext, ciphertext, tag } = read(vector)
    const sealed = gcmSeal(key, nonce, additionalData, plaintext)
    t.strictSame(sealed, { nonce, ciphertext, tag }, `vector ${index}`)
  }
})

t.test("opening gives the plaintext of NIST's known answers", async (t) => {
  for (const [index, vector] of GCM_VECTORS.entries()) {
    const { key, additionalData, plaintext, ...sealed } = read(vector)
    t.strictSame(gcmOpen(key, sealed, additionalData), plaintext, `vector ${index}`)
  }
})

t.test('a known answer with one bit of any part flipped does not open', async (t) => {
  for (const vector of GCM_VECTORS) {
    for (const part of ['nonce', 'additionalData', 'ciphertext', 'tag'] as const) {
      const { key, additionalData, plaintext: _, ...sealed } = read(vector)
      const bytes = { additionalData, ...sealed }[part]
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        flip(bytes, bit)
        if (opens(() => gcmOpen(key, sealed, additionalData))) t.fail(`${part}: bit ${bit} does not count`)
        flip(bytes, bit)
      }
      t.ok(
        opens(() => gcmOpen(key, sealed, additionalData)),
        'and opens when it is put back',
      )
    }
  }
})

t.test('a shortened tag does not open', async (t) => {
  for (const vector of GCM_VECTORS) {
    const { key, additionalData, plaintext: _, ...sealed } = read(vector)
    for (const length of [0, 4, 8, 12, 15]) {
      const tag = sealed.tag.subarray(0, length)
      throwsLike(t, () => gcmOpen(key, { ...sealed, tag }, additionalData), {
        code: 'ERR_CRYPTO_INVALID_AUTH_TAG',
      })
    }
  }
})

function flip(bytes: Buffer, bit: number): void {
  bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
}

function opens(work: () => unknown): boolean {
  try {
    work()
    return true
  } catch {
    return false
  }
}
