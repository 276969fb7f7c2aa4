import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { isCovered, readCovered } from './coverage.ts'

interface Script {
  readonly file: string
  /** Ranges of each function: start, end, count. */
  readonly functions: readonly (readonly (readonly [number, number, number])[])[]
}

function reportOf(root: string, scripts: readonly Script[]): string {
  return JSON.stringify({
    result: scripts.map(({ file, functions }) => ({
      url: pathToFileURL(join(root, file)).href,
      functions: functions.map((ranges) => ({
        ranges: ranges.map(([startOffset, endOffset, count]) => ({ startOffset, endOffset, count })),
      })),
    })),
  })
}

t.test('the smallest range decides, and any process that ran the place counts', async (t) => {
  const root = t.testdir()
  const folder = join(root, 'coverage')
  await mkdir(folder)
  // A module of 100 characters, in it a function that ran but for one branch, and one that did not run.
  const one = [
    [[0, 100, 1]],
    [
      [10, 50, 3],
      [20, 30, 0],
    ],
    [[60, 80, 0]],
  ] as const
  const two = [[[0, 100, 1]], [[10, 50, 0]], [[60, 80, 1]]] as const
  await writeFile(
    join(folder, '1.json'),
    reportOf(root, [
      { file: 'src/a.ts', functions: one },
      { file: 'src/b.ts', functions: one },
      { file: 'node_modules/c.ts', functions: one },
    ]),
  )
  await writeFile(join(folder, '2.json'), reportOf(root, [{ file: 'src/a.ts', functions: two }]))
  await writeFile(join(folder, '3.json'), '{"result":[')

  const covered = await readCovered(folder, root, (file) => file.startsWith('src/'))
  t.strictSame(covered, {
    'src/a.ts': [
      [0, 20],
      [30, 100],
    ],
    'src/b.ts': [
      [0, 20],
      [30, 60],
      [80, 100],
    ],
  })
  t.equal(isCovered(covered, 'src/b.ts', 19), true)
  t.equal(isCovered(covered, 'src/b.ts', 20), false)
  t.equal(isCovered(covered, 'src/b.ts', 30), true)
  t.equal(isCovered(covered, 'src/c.ts', 0), false)
})
