import { OFFENCES, type Offence } from '../../tenants/tenant.ts'

/** WatchState is what one process has seen and done as a watcher, for metrics. Times are of the clock. */
export class WatchState {
  readonly #ended = new Map<string, Map<Offence, number>>()
  readonly #passes = new Map<string, { readonly at: number; readonly seconds: number }>()
  #blocked = 0

  /** By data server and reason, zeros included, of the servers that were watched. */
  get ended(): readonly { readonly server: string; readonly reason: Offence; readonly count: number }[] {
    return [...this.#ended].flatMap(([server, counts]) =>
      OFFENCES.map((reason) => ({ server, reason, count: counts.get(reason) ?? 0 })),
    )
  }

  /** The last pass that came to its end, or the beginning of the watch, by data server. */
  get passes(): ReadonlyMap<string, { readonly at: number; readonly seconds: number }> {
    return this.#passes
  }

  get blocked(): number {
    return this.#blocked
  }

  end(server: string, reason: Offence): void {
    const counts = this.#countsOf(server)
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }

  block(): void {
    this.#blocked += 1
  }

  begin(server: string, at: number): void {
    this.pass(server, at, 0)
  }

  pass(server: string, at: number, ms: number): void {
    this.#countsOf(server)
    this.#passes.set(server, { at, seconds: ms / 1000 })
  }

  /** leave is for a data server that another process watches now. */
  leave(server: string): void {
    this.#passes.delete(server)
  }

  #countsOf(server: string): Map<Offence, number> {
    let counts = this.#ended.get(server)
    if (counts === undefined) {
      counts = new Map()
      this.#ended.set(server, counts)
    }
    return counts
  }
}
