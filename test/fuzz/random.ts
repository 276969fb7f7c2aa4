/** Random is a stream of numbers that its seed decides (mulberry32: 32 bits of state, enough to choose by). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** next returns a number from 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** below returns a whole number from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** @throws Error when there is nothing to pick from */
  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)]
    if (picked === undefined) throw new Error('bug: a pick from an empty list')
    return picked
  }

  /** shuffled returns the same items in another order (Fisher and Yates). */
  shuffled<T>(list: readonly T[]): readonly T[] {
    const rest = [...list]
    return list.flatMap(() => rest.splice(this.below(rest.length), 1))
  }

  /** weighted picks by weight. */
  weighted<T extends { readonly weight: number }>(list: readonly T[]): T {
    let rest = this.next() * list.reduce((sum, { weight }) => sum + weight, 0)
    for (const each of list) {
      rest -= each.weight
      if (rest < 0) return each
    }
    return this.pick(list)
  }

  /** fork returns a stream of its own, so that callers that run at once do not take each other's numbers. */
  fork(): Random {
    return new Random(this.below(2 ** 32))
  }
}
