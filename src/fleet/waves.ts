import type { FailureLimit } from './fleet.ts'

/** WAVE_MAX_SIZE is how large waves grow. */
export const WAVE_MAX_SIZE = 500

/** waveSize is how many tenants come next after `ended` waves: `first`, then twice as many each time, up to WAVE_MAX_SIZE. */
export function waveSize(first: number, ended: number): number {
  return Math.max(first, Math.min(first * 2 ** Math.min(ended, 30), WAVE_MAX_SIZE))
}

/** failuresAllowed is how many of `total` tenants may fail; one more stops the run. */
export function failuresAllowed(limit: FailureLimit, total: number): number {
  switch (limit.kind) {
    case 'count':
      return limit.count
    case 'percent':
      return Math.floor((total * limit.percent) / 100)
  }
}

/** parseFailureLimit reads `5%` or `3`; undefined when it is neither. */
export function parseFailureLimit(text: string): FailureLimit | undefined {
  const [, digits, sign] = /^(\d{1,9})(%?)$/.exec(text) ?? []
  if (digits === undefined) return undefined
  const number = Number(digits)
  if (sign === '') return { kind: 'count', count: number }
  return number <= 100 ? { kind: 'percent', percent: number } : undefined
}
