import type { TenantRef } from './tenant.ts'

/** Ids of one query, and queries at once. */
const MAX_IDS = 1_000
const MAX_QUERIES = 2

interface Wanted {
  readonly tenantId: string
  readonly resolve: (ref: TenantRef | undefined) => void
  readonly reject: (error: unknown) => void
}

/**
 * TenantLoads reads tenants together: those asked for in one turn of the event loop in one query, and
 * while two queries are under way all who come wait for the next one. So a scan of made-up ids costs
 * the control database two queries at once, however many callers there are.
 */
export class TenantLoads {
  readonly #load: (tenantIds: readonly string[]) => Promise<readonly TenantRef[]>
  #wanted: Wanted[] = []
  #queries = 0
  #isDue = false

  constructor(load: (tenantIds: readonly string[]) => Promise<readonly TenantRef[]>) {
    this.#load = load
  }

  /** load resolves with a tenant, undefined when there is none. @throws what the load throws */
  load(tenantId: string): Promise<TenantRef | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<TenantRef | undefined>()
    this.#wanted.push({ tenantId, resolve, reject })
    this.#plan()
    return promise
  }

  #plan(): void {
    if (this.#isDue || this.#wanted.length === 0 || this.#queries === MAX_QUERIES) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      void this.#run(this.#wanted.splice(0, MAX_IDS))
    })
  }

  /** Never rejects. */
  async #run(wanted: readonly Wanted[]): Promise<void> {
    this.#queries += 1
    this.#plan()
    try {
      const refs = await this.#load([...new Set(wanted.map(({ tenantId }) => tenantId))])
      const found = new Map(refs.map((ref) => [ref.tenantId, ref]))
      for (const { tenantId, resolve } of wanted) resolve(found.get(tenantId))
    } catch (error) {
      for (const { reject } of wanted) reject(error)
    } finally {
      this.#queries -= 1
      this.#plan()
    }
  }
}
