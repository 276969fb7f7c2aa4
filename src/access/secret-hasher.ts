import { hash, verify } from '@node-rs/argon2'
import type { ApiKey } from './api-key.ts'

/** SecretHasher makes and checks the hashes that API keys are stored as. */
export interface SecretHasher {
  /** isSlow says whether it takes milliseconds of a processor to verify this hash, so that it has to wait its turn. */
  isSlow(hash: string): boolean
  hash(key: ApiKey): Promise<string>
  /** faster resolves with a hash that is not slow, to be stored in place of one that is; undefined when there is none now. */
  faster(key: ApiKey): Promise<string | undefined>
  /** verify says whether the key's secret is the hashed one; takes as long either way. */
  verify(hash: string, key: ApiKey): Promise<boolean>
}

/**
 * argon2idHasher hashes with argon2id, 19 MiB, two passes, one lane, as the OWASP Password Storage
 * Cheat Sheet recommends. Both methods work in the thread pool of libuv.
 */
export const argon2idHasher: SecretHasher = {
  isSlow: () => true,
  faster: async () => undefined,
  // Argon2id is the default of the package; its enum cannot be imported without a compiler.
  hash: ({ secret }) => hash(secret.reveal(), { memoryCost: 19_456, timeCost: 2, parallelism: 1 }),
  verify: (hash, { secret }) => verify(hash, secret.reveal()),
}
