import { randomUUID } from 'node:crypto'
import type { IssuedKey, KeyService, PreparedKey } from '../access/key-service.ts'
import type { ErrorCode } from '../errors.ts'
import type { Db, ScriptDb } from '../pool/statement.ts'
import type { Vault } from '../vault/vault.ts'
import { findTakenIds, insertActive } from './batch-store.ts'
import { Idempotency } from './idempotency.ts'
import type { IdempotentRequest } from './idempotency-store.ts'
import { type Placements, requirePlacement } from './login.ts'
import type { Name } from './name.ts'
import { requireNamespace } from './namespace-service.ts'
import type { Quota, Tenant } from './tenant.ts'
import { findTenants } from './tenant-store.ts'

/** MAX_BATCH is how many tenants one batch may make; each statement of it takes tens of milliseconds then. */
export const MAX_BATCH = 1000
/** MAX_BATCH_KEYS is how many it may make with API keys: each key costs an argon2 hash of ten milliseconds and more. */
export const MAX_BATCH_KEYS = 64

export interface BatchOptions {
  readonly db: ScriptDb
  readonly vault: Vault
  readonly keys: Pick<KeyService, 'prepare' | 'issue'>
  readonly placements: Placements
  /** @throws LessorError SERVER_NOT_FOUND, PLACEMENT_UNAVAILABLE */
  readonly chooseServer: (wish: BatchWish) => Promise<string>
}

/** BatchWish is where the tenants of a batch are to live. */
export interface BatchWish {
  readonly placement: 'row'
  readonly server?: string
  readonly labels?: Readonly<Record<string, string>>
}

/** Batch is a checked request. */
export interface Batch {
  readonly tenants: readonly { readonly name: Name; readonly id?: string }[]
  readonly namespace: string
  readonly wish: BatchWish
  readonly quota: Quota
  readonly withKeys: boolean
}

/** BatchKey is a new key as its caller sees it. */
export interface BatchKey {
  readonly id: string
  readonly key: string
}

export interface BatchFailure {
  readonly code: ErrorCode
  readonly detail: string
}

/** BatchRecord is what became of one item of a batch. */
export type BatchRecord =
  | { readonly tenant: Tenant; readonly apiKey?: BatchKey }
  | { readonly error: BatchFailure }

/** What is stored of a record for a repeated request: the tenant is read again. */
type StoredRecord = { readonly id: string; readonly apiKey?: BatchKey } | { readonly error: BatchFailure }

/**
 * BatchOnboarding makes many `row` tenants in few statements. They need no login, so all of it is one
 * transaction in the control database: there is nothing to take back.
 */
export class BatchOnboarding {
  readonly #options: BatchOptions
  readonly #idempotency: Idempotency

  constructor(options: BatchOptions) {
    this.#options = options
    this.#idempotency = new Idempotency(options.vault)
  }

  /**
   * run resolves with a record for each item, in their order. A name or id that is taken fails its item alone.
   * With `key` a repeated request gets what the first one's tenants are now.
   * @throws LessorError NAMESPACE_NOT_FOUND, SERVER_NOT_FOUND, PLACEMENT_UNAVAILABLE, IDEMPOTENCY_KEY_REUSED,
   *   AUTHENTICATION_BUSY, CONTROL_UNAVAILABLE
   */
  async run(batch: Batch, key: IdempotentRequest | undefined): Promise<readonly BatchRecord[]> {
    const { chooseServer, db, placements } = this.#options
    requirePlacement(placements, batch.wish.placement)
    const server = await chooseServer(batch.wish)
    // Before the transaction, since hashes take their time.
    const prepared = await this.#prepareKeys(batch)
    return db.transaction(async (tx) => {
      const replay = key && (await this.#idempotency.claimBatch(tx, key))
      const stored =
        replay === undefined
          ? await this.#make(tx, batch, server, prepared)
          : (JSON.parse(replay) as readonly StoredRecord[])
      if (replay === undefined && key !== undefined) {
        await this.#idempotency.answerBatch(tx, key, JSON.stringify(stored))
      }
      return withTenants(tx, stored)
    })
  }

  async #prepareKeys({ tenants, withKeys }: Batch): Promise<readonly PreparedKey[]> {
    const prepared: PreparedKey[] = []
    if (withKeys) for (const _ of tenants) prepared.push(await this.#options.keys.prepare())
    return prepared
  }

  async #make(
    tx: Db,
    batch: Batch,
    server: string,
    prepared: readonly PreparedKey[],
  ): Promise<readonly StoredRecord[]> {
    const { id: namespaceId, name: namespace } = await requireNamespace(tx, batch.namespace)
    const items = batch.tenants.map(({ id = randomUUID(), name }) => ({ id, name }))
    const { placement } = batch.wish
    const made = await insertActive(tx, { items, namespaceId, placement, server, quota: batch.quota })
    const left = items.filter(({ id }) => !made.has(id)).map(({ id }) => id)
    const taken = left.length === 0 ? made : await findTakenIds(tx, left)
    const records: StoredRecord[] = []
    const seen = new Set<string>()
    for (const [index, { id, name }] of items.entries()) {
      // Of two items with one id the first has the tenant.
      if (made.has(id) && !seen.has(id)) {
        seen.add(id)
        const key = prepared[index]
        const issued = key && (await this.#options.keys.issue(tx, { namespaceId, tenantId: id }, key))
        records.push({ id, ...(issued && { apiKey: shown(issued) }) })
      } else {
        records.push({ error: taken.has(id) || made.has(id) ? idTaken(id) : nameTaken(name, namespace) })
      }
    }
    return records
  }
}

async function withTenants(tx: Db, stored: readonly StoredRecord[]): Promise<readonly BatchRecord[]> {
  const ids = stored.flatMap((record) => ('id' in record ? [record.id] : []))
  const tenants = new Map((await findTenants(tx, ids)).map((tenant) => [tenant.id, tenant]))
  return stored.map((record) => {
    if ('error' in record) return record
    const tenant = tenants.get(record.id)
    if (tenant === undefined) throw new Error('bug: a tenant of a batch is gone without a tombstone')
    return { tenant, ...(record.apiKey && { apiKey: record.apiKey }) }
  })
}

function shown({ id, key }: IssuedKey): BatchKey {
  return { id, key: key.reveal() }
}

function nameTaken(name: Name, namespace: string): BatchFailure {
  return failure('TENANT_NAME_TAKEN', `The namespace "${namespace}" has a tenant "${name.text}".`)
}

function idTaken(id: string): BatchFailure {
  return failure('INVALID_REQUEST', `There is, or was, a tenant with the id ${id}.`)
}

function failure(code: ErrorCode, detail: string): BatchFailure {
  return { code, detail }
}
