import { hash, verify } from '@node-rs/argon2'
import type { Secret } from '../secret.ts'

/** SecretHasher makes and checks the hashes that API keys are stored as. */
export interface SecretHasher {
  hash(secret: Secret): Promise<string>
  /** verify says whether the secret is the hashed one; takes as long either way. */
  verify(hash: string, secret: Secret): Promise<boolean>
}

/**
 * argon2idHasher hashes with argon2id, 19 MiB, two passes, one lane, as the OWASP Password Storage
 * Cheat Sheet recommends. Both methods work in the thread pool of libuv.
 */
export const argon2idHasher: SecretHasher = {
  // Argon2id is the default of the package; its enum cannot be imported without a compiler.
  hash: (secret) => hash(secret.reveal(), { memoryCost: 19_456, timeCost: 2, parallelism: 1 }),
  verify: (hash, secret) => verify(hash, secret.reveal()),
}
