/** What a finding is: the worst first. */
export const SORTS = [
  'foreign answer',
  'wrong answer',
  'hang',
  'foreign error',
  'not refused',
  'process',
  'left over',
] as const
export type Sort = (typeof SORTS)[number]

/** Finding is one thing that must not be. */
export interface Finding {
  readonly sort: Sort
  /** The kind of statement that it happened to. */
  readonly kind: string
  readonly what: string
  /** What was on the connection. */
  readonly around: readonly string[]
}

/** Findings that are kept with all that is known of them; the others are only counted. */
const KEPT = 40

/** Findings counts what must not be, and keeps the first ones of each sort. */
export class Findings {
  readonly kept: Finding[] = []
  readonly #counts = new Map<string, number>()
  #total = 0

  add(finding: Finding): void {
    const name = `${finding.sort}: ${finding.kind}`
    const count = this.#counts.get(name) ?? 0
    this.#counts.set(name, count + 1)
    this.#total += 1
    // The first of each name says more than the hundredth of one.
    if (this.kept.length < KEPT && count < 3) this.kept.push(finding)
  }

  get total(): number {
    return this.#total
  }

  /** How many of each sort and kind, the worst first. */
  get counts(): readonly (readonly [string, number])[] {
    const rank = (name: string) => SORTS.findIndex((sort) => name.startsWith(`${sort}:`))
    return [...this.#counts].sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b))
  }
}
