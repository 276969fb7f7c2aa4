// Runs the tests on every version of PostgreSQL that is promised: npm run test:matrix [-- --help]
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { RUN_FLAGS, readRunOptions } from '../support/run-options.ts'
import { findTestFiles, UnknownTests } from '../support/test-files.ts'
import { runMatrix, tableOf } from './matrix.ts'
import { POSTGRES_VERSIONS } from './versions.ts'

const RUNNER = fileURLToPath(new URL('../support/run.ts', import.meta.url))

const USAGE = `npm run test:matrix [-- options] [files or folders of tests]

Runs the tests on PostgreSQL ${POSTGRES_VERSIONS.join(', ')}, one after the other, and prints a table. What is not there yet is
fetched into \${XDG_CACHE_HOME:-~/.cache}/lessor. Exit status: 0 all passed, 1 not, 2 wrong use.

${RUN_FLAGS}
--postgres may be repeated, and is all of them without. Types and lint are the same on all versions: npm run check
`

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const options = readRunOptions(args)
  if (options === undefined) {
    process.stdout.write(USAGE)
    return 0
  }
  if (typeof options === 'string') {
    process.stderr.write(`${options}\n`)
    return 2
  }
  if (options.savesTimes) {
    process.stderr.write('--save-times is for a run on one version: npm run test:files -- --save-times\n')
    return 2
  }
  try {
    await findTestFiles(options.paths)
  } catch (error) {
    if (!(error instanceof UnknownTests)) throw error
    process.stderr.write(`${error.message}\n`)
    return 2
  }
  const ended = new AbortController()
  let stoppedBy: NodeJS.Signals | undefined
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      stoppedBy = signal
      ended.abort()
    })
  }
  const outcomes = await runMatrix({
    versions: options.versions.length > 0 ? options.versions : POSTGRES_VERSIONS,
    args: ['--jobs', `${options.jobs}`, ...options.paths],
    runner: RUNNER,
    write: (text) => process.stdout.write(text),
    signal: ended.signal,
  })
  process.stdout.write(tableOf(outcomes))
  if (stoppedBy !== undefined) return 128 + constants.signals[stoppedBy]
  return outcomes.every(({ failed }) => failed === 0) ? 0 : 1
}
