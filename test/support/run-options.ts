import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import {
  INSTALLED_VERSION,
  isPostgresVersion,
  POSTGRES_VERSIONS,
  type PostgresVersion,
} from '../postgres/versions.ts'

/** RunOptions is what a run of the tests is asked for. */
export interface RunOptions {
  /** Files and folders; all tests without. */
  readonly paths: readonly string[]
  /** Files that run at once. */
  readonly jobs: number
  /** The tests' PostgreSQL, as often as one is named; none when none is named. */
  readonly versions: readonly PostgresVersion[]
  /** Whether the times of slow files are to be written down. */
  readonly savesTimes: boolean
  /** Whether types and lint are to be checked before. */
  readonly checks: boolean
}

/** More share one server badly: its connections, and the processor in tests that wait for each other. */
const MOST_JOBS = 4

/** RUN_FLAGS are the lines of --help that all runs of tests have in common. */
export const RUN_FLAGS = `  --postgres <version>    the tests' PostgreSQL: ${POSTGRES_VERSIONS.join(', ')}. Any but ${INSTALLED_VERSION} is fetched on
                          first use into \${XDG_CACHE_HOME:-~/.cache}/lessor
  --jobs <n>              files that run at once: one more than there are processors, and at most ${MOST_JOBS}, without it
  --help                  prints this
`

/** RUN_USAGE is what --help prints. */
export const RUN_USAGE = `npm test [-- options] [files and folders]
npm run test:files [-- options] [files and folders]

Runs the tests on a PostgreSQL of their own; all of them without files and folders. npm test checks types and lint before.

${RUN_FLAGS}  --save-times            writes down which files are slow; these begin the next run

Without --postgres it is ${INSTALLED_VERSION}. On all versions: npm run test:matrix. Exit status: 0 all passed, 1 not, 2 wrong use.
`

/** readRunOptions reads the command's arguments; a sentence for what is wrong, and undefined where help is asked for. */
export function readRunOptions(args: readonly string[]): RunOptions | string | undefined {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(args)
  } catch (error) {
    // What parseArgs throws is meant for people.
    return error instanceof Error ? error.message : String(error)
  }
  const { values, positionals } = parsed
  if (values.help) return undefined
  const jobs =
    values.jobs === undefined ? Math.min(MOST_JOBS, availableParallelism() + 1) : Number(values.jobs)
  if (!Number.isInteger(jobs) || jobs < 1)
    return `--jobs must be a whole number from 1, and is "${values.jobs}".`
  if (values['save-times'] && positionals.length > 0)
    return '--save-times is for a run of all tests, without files and folders.'
  const unknown = values.postgres.find((version) => !isPostgresVersion(version))
  if (unknown !== undefined)
    return `--postgres must be one of ${POSTGRES_VERSIONS.join(', ')}, and is "${unknown}".`
  const versions = values.postgres.filter(isPostgresVersion)
  return { paths: positionals, jobs, versions, savesTimes: values['save-times'], checks: values.check }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      postgres: { type: 'string', multiple: true, default: [] },
      jobs: { type: 'string' },
      'save-times': { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
}
