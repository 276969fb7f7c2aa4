import t from 'tap'
import { parseMigrateArgs } from '../../src/cli/migrate-options.ts'
import { throwsLike } from '../support/like.ts'

t.test('without arguments the whole fleet is migrated, with care', async (t) => {
  t.strictSame(parseMigrateArgs([]), {
    servers: [],
    placements: [],
    tenants: [],
    canaries: [],
    fleet: {
      canaryCount: 1,
      waveSize: 10,
      pauseMs: 0,
      concurrency: 4,
      serverConcurrency: 2,
      lockTimeoutMs: 2000,
      attempts: 5,
      maxFailures: { kind: 'percent', percent: 5 },
    },
    isDryRun: false,
    isJson: false,
  })
})

t.test('every flag is read, in any order', async (t) => {
  const options = parseMigrateArgs([
    ...['--server', 'two', '--server', 'one', '--server', 'two', '--placement', 'schema'],
    ...['--tenant', 'acme', '--canary', 'zoo', '--canary', 'ape', '--canaries', '3', '--wave-size=20'],
    ...['--pause-seconds', '60', '--concurrency', '8', '--server-concurrency', '3', '--attempts', '2'],
    ...['--lock-timeout-ms', '500', '--max-failures', '3', '--dry-run', '--json'],
  ])
  t.strictSame(options, {
    servers: ['one', 'two'],
    placements: ['schema'],
    tenants: ['acme'],
    canaries: ['ape', 'zoo'],
    fleet: {
      canaryCount: 3,
      waveSize: 20,
      pauseMs: 60_000,
      concurrency: 8,
      serverConcurrency: 3,
      lockTimeoutMs: 500,
      attempts: 2,
      maxFailures: { kind: 'count', count: 3 },
    },
    isDryRun: true,
    isJson: true,
  })
})

for (const [args, message] of [
  [['--concurrency', '0'], '--concurrency must be a whole number from 1 to 64.'],
  [['--concurrency', '2.5'], '--concurrency must be a whole number from 1 to 64.'],
  [['--lock-timeout-ms', '0'], '--lock-timeout-ms must be a whole number from 1 to 600000.'],
  [['--max-failures', 'few'], '--max-failures must be a number, or a percentage from 0% to 100%.'],
  [['--placement', 'shema'], '--placement must be one of row, role, schema, database.'],
] as const) {
  t.test(`"${args.join(' ')}" is refused, saying why`, async (t) => {
    throwsLike(t, () => parseMigrateArgs(args), { name: 'UsageError', message })
  })
}

t.test('an unknown flag and a stray word are refused', async (t) => {
  throwsLike(t, () => parseMigrateArgs(['--wave']), { code: 'ERR_PARSE_ARGS_UNKNOWN_OPTION' })
  throwsLike(t, () => parseMigrateArgs(['now']), { code: 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL' })
})
