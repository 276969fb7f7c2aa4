import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import { gcmOpen, gcmSeal } from '../../src/vault/gcm.ts'
import { makeKeyProof, opensWith } from '../../src/vault/key-proof.ts'
import { KeyRing, parseVaultKeys, type VaultKey } from '../../src/vault/key-ring.ts'
import { type SealContext, Vault } from '../../src/vault/vault.ts'
import { rejectsLike, throwsLike } from '../support/like.ts'

const CONTEXT: SealContext = { tenantId: 'a', purpose: 'login' }
const SECRET = 'a password that is long enough to be told from others'

function vaultKey(): VaultKey {
  return { id: 'k', key: createSecretKey(randomBytes(32)) }
}

/** zeroedDuring is what the buffers held that were filled with zeros while `work` ran. */
async function zeroedDuring(work: () => unknown): Promise<readonly string[]> {
  const zeroed: string[] = []
  const { fill } = Buffer.prototype
  // Whose method it is cannot be told from outside, so the one of all buffers is watched.
  Buffer.prototype.fill = function (this: Buffer, ...args: readonly unknown[]) {
    if (args.length === 1 && args[0] === 0) zeroed.push(this.toString('latin1'))
    return Reflect.apply(fill, this, args)
  }
  try {
    await work()
  } finally {
    Buffer.prototype.fill = fill
  }
  return zeroed
}

t.test('the copy of what is sealed is zeroed, whether that went well or not', async (t) => {
  const vault = new Vault(new KeyRing([vaultKey()]))
  t.strictSame(await zeroedDuring(() => vault.seal(SECRET, CONTEXT)), [SECRET])
  const unnamed = new Vault({
    sealingKey: async () => ({ ...vaultKey(), id: 'no id' }),
    find: async () => undefined,
    ids: async () => [],
  })
  t.strictSame(await zeroedDuring(() => rejectsLike(t, unnamed.seal(SECRET, CONTEXT), TypeError)), [SECRET])
})

t.test('what is resealed is zeroed, the opened bytes and their copy', async (t) => {
  const vault = new Vault(new KeyRing([vaultKey()]))
  const envelope = await vault.seal(SECRET, CONTEXT)
  t.strictSame(await zeroedDuring(() => vault.reseal(envelope, CONTEXT)), [SECRET, SECRET])
})

t.test('what is opened is the caller’s to zero', async (t) => {
  const vault = new Vault(new KeyRing([vaultKey()]))
  const envelope = await vault.seal(SECRET, CONTEXT)
  t.strictSame(await zeroedDuring(() => vault.open(envelope, CONTEXT)), [])
})

t.test('a plaintext whose tag is wrong is zeroed', async (t) => {
  const { key } = vaultKey()
  const sealed = gcmSeal(key, randomBytes(12), Buffer.from('bound'), Buffer.from(SECRET))
  const wrong = { ...sealed, tag: Buffer.alloc(16) }
  const open = () => gcmOpen(key, wrong, Buffer.from('bound'))
  t.strictSame(await zeroedDuring(() => throwsLike(t, open, { message: /unable to authenticate/ })), [SECRET])
})

t.test('a value that is opened to prove a key is zeroed', async (t) => {
  const key = vaultKey()
  const envelope = await new Vault(new KeyRing([key])).seal(SECRET, CONTEXT)
  t.strictSame(await zeroedDuring(() => opensWith(key, { envelope, context: CONTEXT })), [SECRET])
  t.strictSame(await zeroedDuring(() => makeKeyProof(key)), ['lessor vault key'])
})

t.test('the bytes of a key that was read are zeroed', async (t) => {
  const bytes = randomBytes(32)
  t.strictSame(await zeroedDuring(() => parseVaultKeys(`k:${bytes.toString('hex')}`)), [
    bytes.toString('latin1'),
  ])
})
