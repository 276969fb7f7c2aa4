import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** Declarations as Biome formats them, dynamic imports, and scripts that are started by their URL. */
const IMPORTS = [
  /^(?:import|export)\s(?:[\w\s{},*$]*?\bfrom\s)?'(\.[^']+)'/gm,
  /\bimport\(\s*'(\.[^']+)'/g,
  /\bnew URL\('(\.[^']+\.ts)', import\.meta\.url\)/g,
]

/** ImportGraph knows which files of a tree load which. Paths are below its root, with slashes. */
export class ImportGraph {
  readonly #root: string
  readonly #imports = new Map<string, readonly string[]>()
  readonly #texts = new Map<string, string>()
  readonly #distances = new Map<string, ReadonlyMap<string, number>>()
  readonly #hashes = new Map<string, string>()

  constructor(root: string) {
    this.#root = root
  }

  text(file: string): string {
    const known = this.#texts.get(file)
    if (known !== undefined) return known
    const text = readFileSync(join(this.#root, file), 'utf8')
    this.#texts.set(file, text)
    return text
  }

  /** distances is each file that `file` loads, with the number of imports to it; itself has 0. */
  distances(file: string): ReadonlyMap<string, number> {
    const known = this.#distances.get(file)
    if (known !== undefined) return known
    const found = new Map([[file, 0]])
    this.#distances.set(file, found)
    for (const [each, distance] of found) {
      for (const imported of this.#importsOf(each)) {
        if (!found.has(imported)) found.set(imported, distance + 1)
      }
    }
    return found
  }

  /** hash changes when `file`, or one that it loads, does. `others` is what it rests on besides. */
  hash(file: string, others: readonly string[]): string {
    const all = [...this.distances(file).keys(), ...others].toSorted()
    return sha256(all.map((each) => `${each} ${this.#hashOf(each)}\n`).join(''))
  }

  #hashOf(file: string): string {
    const known = this.#hashes.get(file)
    if (known !== undefined) return known
    const hash = sha256(this.text(file))
    this.#hashes.set(file, hash)
    return hash
  }

  #importsOf(file: string): readonly string[] {
    const known = this.#imports.get(file)
    if (known !== undefined) return known
    const text = this.text(file)
    const imports = IMPORTS.flatMap((pattern) => [...text.matchAll(pattern)])
      .map(([, name = '']) => normalize(join(dirname(file), name)))
      .filter((each) => each.endsWith('.ts') && existsSync(join(this.#root, each)))
    this.#imports.set(file, imports)
    return imports
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
