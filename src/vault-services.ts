import { sampleHashKeys } from './access/hash-key-store.ts'
import { hashKeyContext } from './access/hash-keys.ts'
import type { ControlDb } from './control/control-database.ts'
import { VaultKeys, type VaultKeysOptions } from './control/vault-keys.ts'
import type { Logger } from './http/logger.ts'
import type { Db } from './pool/statement.ts'
import { serverCredentialContext } from './servers/server-credentials.ts'
import { sampleServerCredentials } from './servers/server-store.ts'
import { sampleCredentials } from './tenants/credential-store.ts'
import { answerContext } from './tenants/idempotency.ts'
import { sampleAnswers } from './tenants/idempotency-store.ts'
import { credentialContext } from './tenants/login.ts'
import type { SealedValue } from './vault/key-proof.ts'
import type { KeyProvider } from './vault/key-ring.ts'

export interface VaultServicesOptions {
  readonly control: ControlDb
  readonly keys: KeyProvider
  readonly logger: Logger
  /** Called before each look; what it returns is called after it, with how many of its parts have failed. */
  readonly beginTurn?: () => (failures: number) => void
}

/** Values of each kind that a key without a proof is tried on. */
const SAMPLES = 20

/** createVaultKeys wires what holds the key ring against the control database. Nothing runs before `start`. */
export function createVaultKeys({ control, keys, logger, beginTurn }: VaultServicesOptions): VaultKeys {
  const options: VaultKeysOptions = {
    db: control,
    keys,
    samples: sampleSealed,
    ...(beginTurn && { beginTurn }),
    onMissing(keyIds) {
      if (keyIds.length === 0) logger.info('VAULT_KEYS has all keys in use again')
      else {
        logger.error(
          { keyIds },
          'VAULT_KEYS of this process lacks keys that are in use, what they seal cannot be opened here: add them and restart',
        )
      }
    },
    onError: (error) =>
      logger.warn({ err: error }, 'the vault keys in use could not be read, it will be tried again'),
  }
  return new VaultKeys(options)
}

/** Every kind of sealed value has its line here, each with a column key_id that the table vault_keys follows. */
async function sampleSealed(db: Db, keyId: string): Promise<readonly SealedValue[]> {
  const [hashKeys, servers, credentials, answers] = [
    await sampleHashKeys(db, keyId, SAMPLES),
    await sampleServerCredentials(db, keyId, SAMPLES),
    await sampleCredentials(db, keyId, SAMPLES),
    await sampleAnswers(db, keyId, SAMPLES),
  ]
  return [
    ...hashKeys.map(({ id, envelope }) => ({ envelope, context: hashKeyContext(id) })),
    ...servers.map(({ server, purpose, envelope }) => ({
      envelope,
      context: serverCredentialContext(server, purpose),
    })),
    ...credentials.map(({ tenantId, envelope }) => ({ envelope, context: credentialContext(tenantId) })),
    ...answers.map(({ keyHash, tenantId, response }) => ({
      envelope: response,
      context: answerContext(keyHash, tenantId),
    })),
  ]
}
