import { KeyRing, type VaultKey } from './key-ring.ts'
import type { SealContext } from './seal-context.ts'
import { Vault } from './vault.ts'

/** What is sealed is no secret: only who has the key can have made, or can open, the proof. */
const TEXT = 'lessor vault key'
const CONTEXT: SealContext = { tenantId: 'vault', purpose: 'key-proof' }

/** SealedValue is an envelope and what it was sealed for. */
export interface SealedValue {
  readonly envelope: Uint8Array
  readonly context: SealContext
}

/** makeKeyProof resolves with an envelope by which the key is known later, and which tells nothing about it. */
export function makeKeyProof(key: VaultKey): Promise<Buffer> {
  return new Vault(new KeyRing([key])).seal(TEXT, CONTEXT)
}

/** provesKey says whether makeKeyProof made the proof with this key: the same id and the same bytes. */
export function provesKey(key: VaultKey, proof: Uint8Array): Promise<boolean> {
  return opensWith(key, { envelope: proof, context: CONTEXT })
}

/** opensWith says whether the key, of this id and these bytes, opens a sealed value. */
export async function opensWith(key: VaultKey, { envelope, context }: SealedValue): Promise<boolean> {
  try {
    const plaintext = await new Vault(new KeyRing([key])).open(envelope, context)
    plaintext.fill(0)
    return true
  } catch {
    return false
  }
}
