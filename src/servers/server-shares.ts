import type { Clock } from '../clock.ts'
import type { Pools } from '../pool/contract.ts'
import type { Db } from '../pool/statement.ts'
import { enterShare, type LiveShare, lockShares, readShares, writeShare } from './share-store.ts'

export interface ServerSharesOptions {
  /** Whether this node has a watchdog; nodes of before it have none. */
  readonly watches: boolean
  /** The data servers, each with its connections over all nodes; asked at each renewal. */
  readonly servers: () => readonly { readonly name: string; readonly budget: number }[]
  readonly clock: Clock
  readonly pools: Pick<Pools, 'used' | 'rebalance'>
}

/** Renewal is who renews, and whom it may take for dead. */
export interface Renewal {
  readonly nodeId: string
  /** Other nodes that have been silent for longer do not count. */
  readonly silentMs: number
}

/** Renewed is what a renewal has found; it comes into force by `enforce`, once it is committed. */
export interface Renewed {
  /** Nodes that count, this one included. */
  readonly nodes: number
  /** False while this node, or another one, still has to give something up. */
  readonly isSettled: boolean
  /** Whether others may find something that was not there before. */
  readonly isNews: boolean
  /** enforce lets the pools have the share until `validUntil` by the clock. */
  enforce(validUntil: number): void
}

/**
 * ServerShares is this node's part of each data server's connections. The shares are in the control
 * database, changed under a lock for each data server, and three rules keep their sum within the budget:
 *
 * - a share goes up only to what the others leave, and the pools hear of it after the commit;
 * - a share that goes down binds the pools first, and what is written down is never less than what they
 *   still have in use, so that the others get it when it is really free;
 * - without a renewal in time the pools get nothing beyond what they have in use, since others may have
 *   been given the rest. (One connection they may always have: else a node whose connections were all
 *   idle could not serve its tenants while the control database is away.)
 */
export class ServerShares {
  readonly #options: ServerSharesOptions
  /** What the pools may have. It goes up only in `enforce`. */
  readonly #limits = new Map<string, number>()
  /** The data servers that this node looks after, by the last renewal that was committed. */
  #first: ReadonlySet<string> = new Set()
  #validUntil = Number.POSITIVE_INFINITY
  /** Counts the shares worked out, so that an earlier renewal that was given up does not raise anything. */
  #turn = 0

  constructor(options: ServerSharesOptions) {
    this.#options = options
  }

  /** limit is what this node's pools may have of a server's connections, 0 before the first renewal. */
  limit(server: string): number {
    if (this.#options.clock.now() >= this.#validUntil) this.#freeze()
    return this.#limits.get(server) ?? 0
  }

  /** Whether each data server can be used. */
  get isUsable(): boolean {
    return this.#options.servers().every(({ name }) => this.limit(name) > 0)
  }

  /**
   * isFirst says whether this node is the oldest live one of a data server that watches, or the oldest if none does. While the control database is away
   * the last answer stays, so that for a moment two nodes may both be, or none.
   */
  isFirst(server: string): boolean {
    return this.#first.has(server)
  }

  /** renew works out the shares inside the transaction that renews the node. What has to go down goes down at once. */
  async renew(tx: Db, { nodeId, silentMs }: Renewal): Promise<Renewed> {
    const found: { server: string; share: number; nodes: number; isSettled: boolean; isNews: boolean }[] = []
    const first = new Set<string>()
    let turn = this.#turn
    const servers = this.#options.servers().toSorted((a, b) => (a.name < b.name ? -1 : 1))
    for (const { name: server, budget } of servers) {
      await lockShares(tx, server)
      const isChanged = await enterShare(tx, { server, nodeId, budget, watches: this.#options.watches })
      const shares = await readShares(tx, server, silentMs)
      const { share, wanted } = divide(shares, nodeId)
      this.#lower(server, share)
      turn = ++this.#turn
      const used = this.#options.pools.used(server)
      const granted = Math.max(share, used)
      await writeShare(tx, { server, nodeId, granted, used })
      const before = shares.find((each) => each.nodeId === nodeId)?.granted ?? 0
      const isSettled = granted === wanted
      if ((shares.find(({ watches }) => watches) ?? shares[0])?.nodeId === nodeId) first.add(server)
      found.push({ server, share, nodes: shares.length, isSettled, isNews: isChanged || granted < before })
    }
    return {
      nodes: Math.max(1, ...found.map(({ nodes }) => nodes)),
      isSettled: found.every(({ isSettled }) => isSettled),
      isNews: found.some(({ isNews }) => isNews),
      enforce: (validUntil) => {
        if (turn !== this.#turn) return
        for (const { server, share } of found) this.#limits.set(server, share)
        this.#validUntil = validUntil
        this.#first = first
        this.#options.pools.rebalance()
      },
    }
  }

  #freeze(): void {
    this.#validUntil = Number.POSITIVE_INFINITY
    for (const [server, limit] of this.#limits) {
      this.#limits.set(server, Math.min(limit, Math.max(1, this.#options.pools.used(server))))
    }
  }

  #lower(server: string, share: number): void {
    if (share >= this.limit(server)) return
    this.#limits.set(server, share)
    this.#options.pools.rebalance()
  }
}

/**
 * divide gives each node the same part of the budget, the oldest ones one more where it does not come
 * out even. `share` is what the node may have now, `wanted` what it may have when all others have
 * come to their part.
 */
export function divide(
  shares: readonly LiveShare[],
  nodeId: string,
): { readonly share: number; readonly wanted: number } {
  const place = shares.findIndex((each) => each.nodeId === nodeId)
  if (place < 0) throw new Error('bug: a node that renews is not among the live ones')
  const budget = Math.min(...shares.map((each) => each.budget))
  const wanted = Math.floor(budget / shares.length) + (place < budget % shares.length ? 1 : 0)
  const others = shares.reduce((sum, each) => sum + (each.nodeId === nodeId ? 0 : each.granted), 0)
  return { share: Math.max(0, Math.min(wanted, budget - others)), wanted }
}
