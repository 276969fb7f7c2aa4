import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Covered is the parts of each file that ran, as pairs of a start and an end, in their order. */
export type Covered = Readonly<Record<string, readonly (readonly [number, number])[]>>

/** What V8 writes with NODE_V8_COVERAGE, as far as it is read here (the protocol's Profiler.ScriptCoverage). */
interface Report {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly { readonly ranges: readonly Range[] }[]
  }[]
}

interface Range {
  readonly startOffset: number
  readonly endOffset: number
  readonly count: number
}

/**
 * readCovered is what the processes that wrote their coverage to a folder ran of the files that `isWanted`, below
 * `root`. Types are stripped in place, so that the offsets are those of the file.
 */
export async function readCovered(
  folder: string,
  root: string,
  isWanted: (file: string) => boolean,
): Promise<Covered> {
  const base = pathToFileURL(`${root}/`).href
  const ran = new Map<string, Uint8Array>()
  for (const name of await readdir(folder)) {
    const report = parse(await readFile(join(folder, name), 'utf8'))
    for (const { url, functions } of report.result) {
      const file = url.startsWith(base) ? decodeURI(url.slice(base.length)) : ''
      if (file === '' || !isWanted(file)) continue
      const marks = paint(functions.flatMap(({ ranges }) => ranges))
      const before = ran.get(file)
      ran.set(file, before === undefined ? marks : union(before, marks))
    }
  }
  return Object.fromEntries([...ran].map(([file, marks]) => [file, intervals(marks)]))
}

/** isCovered says whether the place ran. */
export function isCovered(covered: Covered, file: string, offset: number): boolean {
  return (covered[file] ?? []).some(([start, end]) => start <= offset && offset < end)
}

/** A process that was killed while it wrote leaves half of a report, which counts for nothing. */
function parse(text: string): Report {
  try {
    return JSON.parse(text)
  } catch {
    return { result: [] }
  }
}

/** paint marks each place that ran: the smallest range that has it decides. */
function paint(ranges: readonly Range[]): Uint8Array {
  const marks = new Uint8Array(Math.max(0, ...ranges.map(({ endOffset }) => endOffset)))
  const size = (range: Range): number => range.endOffset - range.startOffset
  for (const range of ranges.toSorted((a, b) => size(b) - size(a))) {
    marks.fill(range.count > 0 ? 1 : 0, range.startOffset, range.endOffset)
  }
  return marks
}

function union(a: Uint8Array, b: Uint8Array): Uint8Array {
  const [long, short] = a.length >= b.length ? [a, b] : [b, a]
  return long.map((mark, place) => mark | (short[place] ?? 0))
}

function intervals(marks: Uint8Array): readonly (readonly [number, number])[] {
  const found: [number, number][] = []
  let start = marks.indexOf(1)
  while (start !== -1) {
    const end = marks.indexOf(0, start)
    found.push([start, end === -1 ? marks.length : end])
    start = end === -1 ? -1 : marks.indexOf(1, end)
  }
  return found
}
