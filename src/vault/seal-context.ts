import { ENVELOPE_VERSION } from './envelope.ts'

/** SealContext is what a sealed value belongs to; it opens under the same context only. */
export interface SealContext {
  readonly tenantId: string
  /** What the value is for, e.g. `login`. */
  readonly purpose: string
}

const DOMAIN = 'lessor.vault'

/**
 * additionalData is the context as bytes for GCM's additional authenticated data. Every part goes
 * with its length, so that no two contexts share an encoding.
 * @throws TypeError when a part is empty or no well-formed Unicode (UTF-8 would merge such texts)
 */
export function additionalData(context: SealContext, keyId: string): Buffer {
  const parts = [
    part('domain', DOMAIN),
    Uint8Array.of(ENVELOPE_VERSION),
    part('keyId', keyId),
    part('tenantId', context.tenantId),
    part('purpose', context.purpose),
  ]
  return Buffer.concat(parts)
}

function part(name: string, text: string): Buffer {
  if (text === '' || !text.isWellFormed()) {
    throw new TypeError(`"${name}" of a seal context must be well-formed text and not empty`)
  }
  const size = Buffer.byteLength(text)
  const bytes = Buffer.alloc(4 + size)
  bytes.writeUInt32BE(size)
  bytes.write(text, 4)
  return bytes
}
