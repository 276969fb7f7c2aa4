import { Secret } from '../secret.ts'
import type { SealContext, Vault } from '../vault/vault.ts'
import type { CredentialPurpose, SealedCredential } from './server-store.ts'

/** serverCredentialContext binds a sealed password to its data server and purpose; no tenant's id looks like this. */
export function serverCredentialContext(server: string, purpose: CredentialPurpose): SealContext {
  return { tenantId: `server:${server}`, purpose: `server-${purpose}` }
}

/** sealCredential seals a password of the service's own login to a data server. */
export async function sealCredential(
  vault: Pick<Vault, 'seal' | 'keyId'>,
  server: string,
  purpose: CredentialPurpose,
  login: string,
  password: Secret,
): Promise<SealedCredential> {
  const envelope = await vault.seal(password.reveal(), serverCredentialContext(server, purpose))
  return { purpose, login, envelope, keyId: vault.keyId(envelope) }
}

/** openCredential opens such a password. @throws LessorError VAULT_OPEN_FAILED */
export async function openCredential(
  vault: Pick<Vault, 'open'>,
  server: string,
  sealed: SealedCredential,
): Promise<Secret> {
  const plaintext = await vault.open(sealed.envelope, serverCredentialContext(server, sealed.purpose))
  const password = new Secret(plaintext.toString('utf8'))
  plaintext.fill(0)
  return password
}
