import { globSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const TIMES = new URL('./slow-files.json', import.meta.url)
/** Seconds; files that take less need no place in the order. */
const SLOW_S = 8

/** UnknownTests is thrown for an argument that names no test. */
export class UnknownTests extends Error {
  override readonly name = 'UnknownTests'
}

/**
 * findTestFiles resolves with the test files that some paths name: files, or folders with all that is in them; all files
 * without paths. The slowest of the last run that was written down come first, so that none of them is left over for the end.
 * @throws UnknownTests
 */
export async function findTestFiles(paths: readonly string[] = []): Promise<readonly string[]> {
  const found = await Promise.all((paths.length === 0 ? ['test'] : paths).map(filesOf))
  const files = [...new Set(found.flat())]
  const seconds = await readTimes()
  return files.toSorted((a, b) => (seconds[b] ?? 0) - (seconds[a] ?? 0) || a.localeCompare(b, 'en'))
}

/** readTimes resolves with the seconds that slow files took, by their path. */
export async function readTimes(): Promise<Readonly<Record<string, number>>> {
  return JSON.parse(await readFile(TIMES, 'utf8'))
}

/** writeTimes keeps the times of a whole run, of what is slow. */
export async function writeTimes(seconds: ReadonlyMap<string, number>): Promise<void> {
  const slow = [...seconds].filter(([, each]) => each >= SLOW_S).toSorted(([, a], [, b]) => b - a)
  const rounded = Object.fromEntries(slow.map(([file, each]) => [file, Math.round(each)]))
  await writeFile(TIMES, `${JSON.stringify(rounded, undefined, 2)}\n`)
}

async function filesOf(path: string): Promise<readonly string[]> {
  const name = relative(ROOT, resolve(path))
  const what = await stat(join(ROOT, name)).catch(() => undefined)
  if (what?.isFile() && /^test\/.*\.test\.ts$/.test(name)) return [name]
  const files = what === undefined || what.isFile() ? [] : globSync(join(name, '**/*.test.ts'), { cwd: ROOT })
  if (files.length === 0)
    throw new UnknownTests(`${path} is neither a test file nor a folder that holds some.`)
  return files
}
