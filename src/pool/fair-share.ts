/** Sharer is a tenant that holds connections of something scarce. */
export interface Sharer {
  readonly used: number
  readonly weight: number
}

/**
 * mayTakeFrom says whether a connection does more good with `poor` than with `rich`. Whoever has none comes
 * before anybody has two, whatever their weights: that is the floor. Else it does when, once it has
 * moved, `rich` still has at least as much for its weight as `poor` then has. Moving connections as
 * long as that holds ends in max-min fairness by weight above the floor.
 */
export function mayTakeFrom(rich: Sharer, poor: Sharer): boolean {
  if (poor.used === 0) return rich.used >= 2
  return (rich.used - 1) * poor.weight >= (poor.used + 1) * rich.weight
}

/** Wish is what one tenant would use if it were alone. */
export interface Wish {
  readonly wants: number
  readonly weight: number
}

/**
 * fairShares divides `limit` among wishes by weight: nobody gets more than it wants, and what one
 * leaves goes to the others (max-min fairness, by filling up from below). Fractions are kept.
 */
export function fairShares(limit: number, wishes: readonly Wish[]): readonly number[] {
  const shares = new Array<number>(wishes.length).fill(0)
  const open = wishes.map((wish, index) => ({ ...wish, index }))
  // Whoever is satisfied by the lowest level of filling comes first.
  open.sort((a, b) => a.wants / a.weight - b.wants / b.weight)
  let left = limit
  let weights = open.reduce((sum, { weight }) => sum + weight, 0)
  for (const { index, wants, weight } of open) {
    const share = Math.min(wants, (left * weight) / weights)
    shares[index] = share
    left -= share
    weights -= weight
  }
  return shares
}
