import { basename, dirname } from 'node:path'
import type { ImportGraph } from './import-graph.ts'

/** What a test is taken to need that has not run yet, for each file that it loads: one with a database loads many. */
const UNKNOWN_MS_PER_FILE = 50

/**
 * How much longer a test seems for each step that it is farther from the code: a test of the same name, one that loads
 * the file itself, one in the same folder, one of the same domain. Any other is far.
 */
const FARNESS = [1, 2, 3, 6, 1] as const
const FAR = 4

export interface Ordered {
  /** Of the code's own domain, or loading its file directly. */
  readonly near: readonly string[]
  readonly far: readonly string[]
}

/**
 * orderTests is the tests that load `file`, those first that find a mutant of it soonest: near ones before far ones, and
 * quick ones before slow ones. `msOf` says how long a test takes, as far as that is known.
 */
export function orderTests(
  file: string,
  tests: readonly string[],
  graph: ImportGraph,
  msOf: ReadonlyMap<string, number>,
): Ordered {
  const found = tests
    .filter((test) => graph.distances(test).has(file))
    .map((test) => {
      const loaded = graph.distances(test)
      const far = farness(file, test, loaded.get(file) ?? 0)
      const ms = msOf.get(test) ?? loaded.size * UNKNOWN_MS_PER_FILE
      return { test, isFar: far === FAR, cost: ms * FARNESS[far] }
    })
    .toSorted((a, b) => a.cost - b.cost || (a.test < b.test ? -1 : 1))
  const named = (isFar: boolean) => found.filter((each) => each.isFar === isFar).map(({ test }) => test)
  return { near: named(false), far: named(true) }
}

function farness(file: string, test: string, distance: number): 0 | 1 | 2 | 3 | 4 {
  const [folder, testFolder] = [withoutTop(dirname(file)), withoutTop(dirname(test))]
  if (folder === testFolder && basename(test).startsWith(`${basename(file, '.ts')}.`)) return 0
  if (distance === 1) return 1
  if (folder === testFolder) return 2
  return domainOf(folder) === domainOf(testFolder) ? 3 : 4
}

/** Tests mirror the sources: src/pool/driver has its tests in test/pool/driver. */
function withoutTop(folder: string): string {
  return folder.split('/').slice(1).join('/')
}

function domainOf(folder: string): string {
  return folder.split('/')[0] ?? ''
}
