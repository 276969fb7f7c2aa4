import type { FuzzTenant } from './tenant.ts'

/** Beside is what other statements may be answered since this kind of work runs beside them. */
export interface Beside {
  /** Codes that any statement may get. */
  readonly any?: readonly string[]
  /** Codes that a statement of an open transaction may get, since nothing of it can be sent again. */
  readonly inTransaction?: readonly string[]
  /**
   * Whom it reaches: the tenants on the same connections (by default), the tenant alone, or all tenants, where it
   * is done to what they share.
   */
  readonly reach?: 'pool' | 'tenant' | 'everybody'
  /** The tenant's own statements may be answered anything but what is another's. */
  readonly unsound?: boolean
}

const EVERYBODY = '*'

/** Hazards is what may befall whom in a round, by what has been done in it so far. Nothing is allowed otherwise. */
export class Hazards {
  readonly #isShared: boolean
  readonly #allowed = new Set<string>()

  constructor(isShared: boolean) {
    this.#isShared = isShared
  }

  /** add is called before the work begins. */
  add(tenant: FuzzTenant, { any = [], inTransaction = [], reach = 'pool', unsound = false }: Beside): void {
    const isAll = reach === 'everybody' || (reach === 'pool' && this.#isShared)
    const whom = isAll ? EVERYBODY : tenant.id
    for (const code of any) this.#allowed.add(`${whom} ${code}`)
    // What has failed for one fails the others that were sent behind it.
    const codes = inTransaction.length > 0 ? [...inTransaction, '25P02'] : []
    for (const code of codes) this.#allowed.add(`${whom} transaction ${code}`)
    if (unsound) this.#allowed.add(`${whom} unsound`)
  }

  allows({ id }: FuzzTenant, code: string, isInTransaction: boolean): boolean {
    return [id, EVERYBODY].some(
      (whom) =>
        this.#allowed.has(`${whom} ${code}`) ||
        (isInTransaction && this.#allowed.has(`${whom} transaction ${code}`)),
    )
  }

  isUnsound({ id }: FuzzTenant): boolean {
    return this.#allowed.has(`${id} unsound`)
  }
}
