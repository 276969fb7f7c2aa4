import { readFile } from 'node:fs/promises'
import type { Mutant } from './mutant.ts'

/** Listed is a mutant of which it is known that the tests do not find it, and why. */
export interface Listed {
  readonly file: string
  /** The line of the source in which it starts, trimmed. */
  readonly code: string
  readonly from: string
  readonly to: string
  /**
   * `equivalent`: the code does the same, so that no test can find it; it is left out of the score. `accepted`: a test
   * could, and costs more than it is worth; it counts as survived.
   */
  readonly verdict: 'equivalent' | 'accepted'
  readonly why: string
}

/** readListed reads the list. @throws Error with the place of an entry that is incomplete or there twice */
export async function readListed(path: URL | string): Promise<readonly Listed[]> {
  const entries: Listed[] = JSON.parse(await readFile(path, 'utf8'))
  const seen = new Set<string>()
  entries.forEach((entry, place) => {
    const problem = problemOf(entry) ?? (seen.has(keyOf(entry)) ? 'is there twice' : undefined)
    if (problem !== undefined) throw new Error(`entry ${place + 1} of the listed mutants ${problem}`)
    seen.add(keyOf(entry))
  })
  return entries
}

/** findListed is the entry of a mutant, when it has one. */
export function findListed(entries: readonly Listed[], mutant: Mutant): Listed | undefined {
  const key = keyOf(mutant)
  return entries.find((entry) => keyOf(entry) === key)
}

/** staleOf is the entries whose mutant is no longer there, since the code has changed. */
export function staleOf(entries: readonly Listed[], mutants: readonly Mutant[]): readonly Listed[] {
  const there = new Set(mutants.map(keyOf))
  return entries.filter((entry) => !there.has(keyOf(entry)))
}

function keyOf({ file, code, from, to }: Pick<Listed, 'file' | 'code' | 'from' | 'to'>): string {
  return JSON.stringify([file, code, from, to])
}

function problemOf(entry: Listed): string | undefined {
  for (const name of ['file', 'code', 'from', 'to', 'why'] as const) {
    if (typeof entry[name] !== 'string') return `has no "${name}"`
  }
  if (entry.why.trim() === '') return 'does not say why'
  if (entry.verdict !== 'equivalent' && entry.verdict !== 'accepted') return 'has no verdict that is known'
  return undefined
}
