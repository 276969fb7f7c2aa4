import type { Sharer } from './fair-share.ts'
import type { Shortage } from './need.ts'

/** Claimant is a pool that wants one more connection. */
export interface Claimant {
  readonly tenantId: string
  readonly server: string
  readonly maxConnections: number
  readonly weight: number
  /** Connections that it has, and callers that wait for one. */
  readonly open: number
  readonly waiting: number
  /** grow is called when a connection that was refused may be had now. */
  grow(): void
}

/**
 * Claims is the pools that were refused a connection, in order. The neediest is one whose tenant has
 * none, else the one whose tenant would have least for its weight with one more; among equals the one that claimed first.
 */
export class Claims {
  readonly #sharer: (claimant: Claimant) => Sharer
  readonly #claims = new Set<Claimant>()
  /** What `neediest` found, until anything changes. */
  readonly #found = new Map<string, readonly Claimant[]>()

  /** `sharer` tells what a claimant's tenant has; call `changed` when that is no longer so. */
  constructor(sharer: (claimant: Claimant) => Sharer) {
    this.#sharer = sharer
  }

  get size(): number {
    return this.#claims.size
  }

  [Symbol.iterator](): Iterator<Claimant> {
    return this.#claims.values()
  }

  /** add puts a claim at the end; false when it is there already. */
  add(claimant: Claimant): boolean {
    if (this.#claims.has(claimant)) return false
    this.#claims.add(claimant)
    this.changed()
    return true
  }

  /** remove takes a claim out; false when there is none. */
  remove(claimant: Claimant): boolean {
    if (this.#claims.size === 0 || !this.#claims.delete(claimant)) return false
    this.changed()
    return true
  }

  changed(): void {
    this.#found.clear()
  }

  /** neediestOf is the neediest of those that count. */
  neediestOf(counts: (claimant: Claimant) => boolean): Claimant | undefined {
    let best: Claimant | undefined
    let least = Number.POSITIVE_INFINITY
    for (const claimant of this.#claims) {
      const level = levelOf(this.#sharer(claimant))
      if (level < least && counts(claimant)) {
        best = claimant
        least = level
      }
    }
    return best
  }

  /** neediest is the neediest claim behind a shortage, then the neediest of another tenant. */
  neediest(shortage: Shortage): readonly Claimant[] {
    const key = shortage === 'process' ? '' : JSON.stringify(shortage)
    const known = this.#found.get(key)
    if (known !== undefined) return known
    const first = this.neediestOf((each) => concerns(shortage, each))
    const second =
      first && this.neediestOf((each) => concerns(shortage, each) && each.tenantId !== first.tenantId)
    const found = [first, second].filter((each) => each !== undefined)
    this.#found.set(key, found)
    return found
  }

  /** isNext says whether no other tenant that counts is as needy as this one. */
  isNext(claimant: Claimant, counts: (other: Claimant) => boolean): boolean {
    const level = levelOf(this.#sharer(claimant))
    for (const other of this.#claims) {
      if (other.tenantId === claimant.tenantId) continue
      if (levelOf(this.#sharer(other)) <= level && counts(other)) return false
    }
    return true
  }

  /** hasAnother says whether another pool of the same tenant, or a reservation for it, waits, at a server if one is named. */
  hasAnother(claimant: Claimant, server?: string): boolean {
    for (const other of this.#claims) {
      if (other === claimant || other.tenantId !== claimant.tenantId) continue
      if (server === undefined || other.server === server) return true
    }
    return false
  }
}

/** What a tenant would have for its weight with one more; the floor comes before all weights. */
function levelOf({ used, weight }: Sharer): number {
  return used === 0 ? 0 : (used + 1) / weight
}

function concerns(shortage: Shortage, { server, tenantId }: Claimant): boolean {
  if (shortage === 'process') return true
  return 'server' in shortage ? shortage.server === server : shortage.tenantId === tenantId
}
