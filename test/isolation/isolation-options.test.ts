import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { ALL_USAGE, readIsolationOptions } from './isolation-options.ts'
import { HINT } from './siege-options.ts'

// It starts the command several times.
t.setTimeout(120_000)

const URL_ERROR = '--url must be postgres://user:password@host:port/database.'

t.test('options choose placements, the server and the mutations', async (t) => {
  t.strictSame(readIsolationOptions([]), { placements: PLACEMENTS, url: undefined, mutates: false })
  t.strictSame(
    readIsolationOptions([
      ...['--placement', 'schema', '--placement', 'row', '--mutate'],
      ...['--url', 'postgres://postgres@127.0.0.1/postgres'],
    ]),
    { placements: ['row', 'schema'], url: 'postgres://postgres@127.0.0.1/postgres', mutates: true },
  )
})

t.test('what makes no sense is refused, with what would', async (t) => {
  for (const [args, message] of [
    [
      ['--placement', 'cloud'],
      'There is no placement "cloud"; a placement is one of row, role, schema, database.',
    ],
    [['--url', 'mysql://x'], URL_ERROR],
    [['--attack', 'sessions'], '--attack belongs to --siege.'],
    [['--seconds=9'], '--seconds belongs to --siege.'],
    [['--list'], '--list belongs to --siege.'],
    [['--mutant'], "Unknown option '--mutant'"],
    [
      ['--url', '--mutate'],
      "Option '--url' argument is ambiguous. Did you forget to specify the option argument for '--url'? " +
        "To specify an option argument starting with a dash use '--url=-XYZ'.",
    ],
  ] as const) {
    t.equal(readIsolationOptions(args), message, args.join(' '))
  }
})

/** What a run of the command prints and exits with. */
async function isolation(...args: readonly string[]) {
  return promisify(execFile)(process.execPath, ['test/isolation/run.ts', ...args]).then(
    ({ stderr, stdout }) => ({ code: 0, stderr, stdout }),
    ({ code, stderr, stdout }) => ({ code, stderr, stdout }),
  )
}

t.test('the usage is printed when asked for, of the siege as well', async (t) => {
  t.strictSame(await isolation('--help'), { code: 0, stderr: '', stdout: ALL_USAGE })
  for (const start of ['npm run isolation [-- options]\n', 'npm run isolation -- --siege [options]\n']) {
    t.ok(ALL_USAGE.includes(start), start)
  }
})

t.test('wrong use is a sentence and the status 2, before anything is started', async (t) => {
  for (const [args, message] of [
    [['--attack', 'sessions'], '--attack belongs to --siege.'],
    [
      ['--siege', '--log-level', 'loud'],
      '--log-level must be one of fatal, error, warn, info, debug, trace, silent, not "loud".',
    ],
  ] as const) {
    t.strictSame(
      await isolation(...args),
      { code: 2, stderr: `${message}\n${HINT}\n`, stdout: '' },
      args.join(' '),
    )
  }
})

t.test('a server that cannot be reached is a sentence too', async (t) => {
  const port = await closedPort()
  const url = `postgres://postgres:secret@127.0.0.1:${port}/postgres`
  const stderr = `The server of --url cannot be used: connect ECONNREFUSED 127.0.0.1:${port}.\n`
  for (const args of [
    ['--url', url],
    ['--siege', '--url', url],
  ]) {
    t.strictSame(await isolation(...args), { code: 2, stderr, stdout: '' }, args.join(' '))
  }
})

/** A port on which nothing listens any more. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  server.close()
  await once(server, 'close')
  return address.port
}
