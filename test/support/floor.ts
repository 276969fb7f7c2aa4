import type { FileTally } from './tally.ts'

/**
 * FLOOR is what a run of all tests has at least: fewer files are a folder that was not found, fewer assertions a loop that
 * did not run. Raised now and then, a little below what there is.
 */
export const FLOOR = { files: 350, assertions: 19_200 }

/**
 * shortcomings says, a sentence each, what a run lacks though nothing failed: a file that did not run or asserts nothing,
 * tests that are skipped or to do, and of a run of all tests too few files or assertions.
 */
export function shortcomings(
  files: readonly string[],
  tallies: readonly FileTally[],
  isWhole: boolean,
): string[] {
  const ran = new Set(tallies.map(({ file }) => file))
  const assertions = tallies.reduce((sum, { passed, failed }) => sum + passed + failed, 0)
  return [
    ...files.filter((file) => !ran.has(file)).map((file) => `${file}: it did not run`),
    ...tallies.flatMap(({ file, passed, failed, left, empty }) => [
      ...(passed + failed === 0 ? [`${file}: no assertion ran`] : []),
      ...empty.map((name) => `${file}: ${name} asserts nothing`),
      ...left.map(
        (name) => `${file}: ${name} was left out; a test that cannot run is to say what is so instead`,
      ),
    ]),
    ...(isWhole && files.length < FLOOR.files
      ? [`there are ${files.length} test files, and were ${FLOOR.files} at least`]
      : []),
    ...(isWhole && assertions < FLOOR.assertions
      ? [`${assertions} assertions ran, and were ${FLOOR.assertions} at least`]
      : []),
  ]
}
