import type { Db } from '../pool/statement.ts'
import { makeKeyProof, opensWith, provesKey, type SealedValue } from '../vault/key-proof.ts'
import type { KeyProvider } from '../vault/key-ring.ts'
import { answerWithin } from './answer-within.ts'
import type { ControlDb } from './control-database.ts'
import {
  announceSealing,
  claimSealing,
  type KnownKey,
  lockVaultKeys,
  readVaultKeys,
  saveKeyProof,
} from './vault-key-store.ts'

export interface VaultKeysOptions {
  readonly db: ControlDb
  /** The keys of this process. */
  readonly keys: KeyProvider
  /** Resolves with a few values that lie sealed with a key, of each kind that there is. */
  readonly samples: (db: Db, keyId: string) => Promise<readonly SealedValue[]>
  /** Called whenever the keys that this process lacks have become others; with none when it has them all again. */
  readonly onMissing: (keyIds: readonly string[]) => void
  /** Called once when the control database could not be asked, until it answers again. */
  readonly onError: (error: unknown) => void
  /** Called before each look of the timer's; what it returns is called after it, with how many of its parts have failed. */
  readonly beginTurn?: () => (failures: number) => void
}

/** How often a process says which key it seals with, and looks whether it has all that are in use. */
const POLL_MS = 10_000
/** How long a key counts as in use after a process has said that it seals with it. */
const CLAIM_MS = 60_000
const PATIENCE_MS = 5_000

/** VaultKeysError says that VAULT_KEYS and the control database do not belong together. It names ids, never keys. */
export class VaultKeysError extends Error {
  override readonly name = 'VaultKeysError'
}

/**
 * VaultKeys holds this process's key ring against what the control database knows of keys. A key is in use
 * while something lies sealed with it, and from before a process seals with it until a minute after it has
 * stopped. A process that lacks a key in use, or has other bytes under a known id, does not start; one
 * that runs when a key comes into use that it lacks says so (`missing`).
 */
export class VaultKeys {
  readonly #options: VaultKeysOptions
  #missing: readonly string[] = []
  #polling: Promise<void> | undefined
  #next: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isSilent = false

  constructor(options: VaultKeysOptions) {
    this.#options = options
  }

  /** Ids of the keys in use that this process lacks, as of the last look. */
  get missing(): readonly string[] {
    return this.#missing
  }

  /** check compares and changes nothing. @throws VaultKeysError; LessorError CONTROL_UNAVAILABLE */
  async check(): Promise<void> {
    await this.#compare(this.#options.db)
  }

  /**
   * start compares, enters the keys of this process, and says from then on that it seals with its first one. Call
   * it before anything is sealed. It enters nothing when it throws.
   * @throws VaultKeysError; LessorError CONTROL_UNAVAILABLE
   */
  async start(): Promise<void> {
    const { db, keys } = this.#options
    const { id: sealing } = await keys.sealingKey()
    await db.transaction(async (tx) => {
      await lockVaultKeys(tx)
      const known = await this.#compare(tx)
      for (const id of await keys.ids()) {
        const key = await keys.find(id)
        if (key === undefined || known.some((each) => each.id === id && each.proof !== null)) continue
        await saveKeyProof(tx, id, await makeKeyProof(key))
      }
      await claimSealing(tx, sealing)
      if (!known.some(({ id, isInUse }) => id === sealing && isInUse)) announceSealing(tx, sealing)
    })
    this.#timer = setInterval(() => void this.poll(), POLL_MS)
    this.#timer.unref()
  }

  /** poll resolves when a look that began after the call has ended, well or badly. */
  poll(): Promise<void> {
    if (this.#timer === undefined) return Promise.resolve()
    if (this.#polling === undefined) return this.#run()
    this.#next ??= this.#polling.then(() => this.#run())
    return this.#next
  }

  /** stop ends the looking and resolves when nothing is being read. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#polling
  }

  #run(): Promise<void> {
    this.#next = undefined
    if (this.#timer === undefined) return Promise.resolve()
    this.#polling = this.#poll().finally(() => {
      this.#polling = undefined
    })
    return this.#polling
  }

  /** Whether it could say what it seals with, and whether it could look, have nothing to do with each other. Never rejects. */
  async #poll(): Promise<void> {
    const endTurn = this.#options.beginTurn?.()
    const failures: unknown[] = []
    for (const part of [() => this.#claim(), () => this.#look()]) {
      try {
        await part()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0 && !this.#isSilent) this.#options.onError(failures[0])
    this.#isSilent = failures.length > 0
    endTurn?.(failures.length)
  }

  async #claim(): Promise<void> {
    const { db, keys } = this.#options
    const { id } = await keys.sealingKey()
    await answerWithin(claimSealing(db, id), PATIENCE_MS)
  }

  async #look(): Promise<void> {
    const { db, onMissing } = this.#options
    const missing = await this.#lacking(await answerWithin(readVaultKeys(db, CLAIM_MS), PATIENCE_MS))
    if (missing.join() === this.#missing.join()) return
    this.#missing = missing
    onMissing(missing)
  }

  /** @throws VaultKeysError */
  async #compare(db: Db): Promise<readonly KnownKey[]> {
    const known = await readVaultKeys(db, CLAIM_MS)
    const missing = await this.#lacking(known)
    const foreign = []
    for (const key of known) if (await this.#isForeign(db, key)) foreign.push(key.id)
    if (missing.length + foreign.length > 0) throw new VaultKeysError(describe(missing, foreign))
    return known
  }

  async #lacking(known: readonly KnownKey[]): Promise<readonly string[]> {
    const own = await this.#options.keys.ids()
    return known.filter(({ id, isInUse }) => isInUse && !own.includes(id)).map(({ id }) => id)
  }

  /** Whether this process has other bytes under the id. */
  async #isForeign(db: Db, { id, proof }: KnownKey): Promise<boolean> {
    const { keys, samples } = this.#options
    const key = await keys.find(id)
    if (key === undefined) return false
    if (proof !== null) return !(await provesKey(key, proof))
    // From a version without proofs. A single damaged value is no reason not to start.
    const sealed = await samples(db, id)
    for (const value of sealed) if (await opensWith(key, value)) return false
    return sealed.length > 0
  }
}

function describe(missing: readonly string[], foreign: readonly string[]): string {
  const sentences = []
  if (missing.length > 0) {
    const [what, it, its] = missing.length === 1 ? ['key', 'it', 'is'] : ['keys', 'them', 'are']
    sentences.push(
      `VAULT_KEYS lacks the ${what} ${quote(missing)}, which ${its} in use in this control database: ` +
        `put ${it} behind the first key, which seals, and start again.`,
    )
  }
  if (foreign.length > 0) {
    const [what, are, ids] =
      foreign.length === 1 ? ['key', 'is not the one', 'this id'] : ['keys', 'are not those', 'these ids']
    sentences.push(
      `The ${what} ${quote(foreign)} of VAULT_KEYS ${are} that this control database knows by ${ids}: ` +
        'put back the right hex digits, or give a new key an id that was never used.',
    )
  }
  return sentences.join(' ')
}

function quote(ids: readonly string[]): string {
  return ids.map((id) => `"${id}"`).join(', ')
}
