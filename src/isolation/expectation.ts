import type { Outcome } from './session.ts'

/** Expectation is what an attack may come to; anything else breaks the wall. */
export type Expectation =
  /** The server refuses it with one of these SQLSTATEs. */
  | { readonly kind: 'refused'; readonly codes: readonly string[] }
  /** Every row is this tenant's, and there are `count` of them where that is known; or it is refused. */
  | {
      readonly kind: 'rows'
      readonly tenantId: string
      readonly count?: number
      readonly codes?: readonly string[]
    }
  /** It reaches exactly so many rows; or it is refused with one of the codes, which are no matter of tenants. */
  | { readonly kind: 'reaches'; readonly count: number; readonly codes?: readonly string[] }
  /** One row with the number `n`. */
  | { readonly kind: 'number'; readonly n: number; readonly codes?: readonly string[] }
  /** It may do as it likes, as long as nothing of another tenant shows. */
  | { readonly kind: 'harmless'; readonly codes?: readonly string[] }

/** NO_RIGHT is insufficient_privilege, which row level security says as well. */
export const NO_RIGHT = '42501'

/**
 * NOT_DISTRIBUTED are the SQLSTATEs with which Citus refuses what it does not do over several servers, and those of
 * a setting that is missing or empty, which change places as connections to workers are used again. Nothing shows
 * then, whatever was expected.
 */
export const NOT_DISTRIBUTED = ['0A000', 'XX000', 'P0001', '42846', '42704', '22P02'] as const

/** refused expects insufficient_privilege, or one of the other codes. */
export function refused(...others: readonly string[]): Expectation {
  return { kind: 'refused', codes: [NO_RIGHT, ...others] }
}

/** describe says an expectation in a few words. */
export function describe(expectation: Expectation): string {
  switch (expectation.kind) {
    case 'refused':
      return `refused (${expectation.codes.join(', ')})`
    case 'rows':
      return expectation.count === undefined ? 'own rows only' : `${expectation.count} own rows and no others`
    case 'reaches':
      return `reaches ${expectation.count} rows`
    case 'number':
      return `finds ${expectation.n}`
    case 'harmless':
      return 'shows nothing of others'
  }
}

/** describeOutcome says what an attack came to, without what it has read. */
export function describeOutcome(outcome: Outcome, tenantId?: string): string {
  if (outcome.kind === 'refused') return `refused (${outcome.code})`
  const n = outcome.rows[0]?.n
  if (typeof n === 'number') return `found ${n}`
  if (tenantId === undefined) return `done (${outcome.count})`
  const foreign = outcome.rows.filter((row) => tenantOf(row) !== tenantId).length
  return foreign === 0 ? `${outcome.rows.length} own rows` : `${foreign} rows of others`
}

/**
 * holds says whether an outcome is as expected; `secrets` is what of another tenant must never show, `refusals` are
 * SQLSTATEs that are right for every attack.
 */
export function holds(
  expectation: Expectation,
  outcome: Outcome,
  secrets: readonly string[],
  refusals: readonly string[] = [],
): boolean {
  if (outcome.kind === 'refused') {
    if (secrets.some((secret) => outcome.message.includes(secret))) return false
    if (refusals.includes(outcome.code)) return true
    if (expectation.kind === 'harmless') return expectation.codes?.includes(outcome.code) ?? true
    return 'codes' in expectation && (expectation.codes?.includes(outcome.code) ?? false)
  }
  const shown = JSON.stringify(outcome.rows)
  if (secrets.some((secret) => shown.includes(secret))) return false
  switch (expectation.kind) {
    case 'refused':
      return false
    case 'rows':
      return (
        outcome.rows.every((row) => tenantOf(row) === expectation.tenantId) &&
        (expectation.count === undefined || outcome.rows.length === expectation.count)
      )
    case 'reaches':
      return outcome.count === expectation.count
    case 'number':
      return outcome.rows[0]?.n === expectation.n
    case 'harmless':
      return true
  }
}

/** COPY gives lines instead of rows. */
function tenantOf(row: Record<string, unknown>): unknown {
  return row.tenant_id ?? row.line
}
