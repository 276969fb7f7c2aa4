import t from 'tap'
import { type Command, UsageError } from '../../src/cli/command.ts'
import { findCommand, runCommand } from '../../src/cli/run-command.ts'
import { serveCommand } from '../../src/cli/serve-command.ts'
import { ConfigError } from '../../src/config.ts'
import { LessorError } from '../../src/errors.ts'
import { readVersion } from '../../src/version.ts'
import { testIo } from './io.ts'

const calls: string[][] = []

function command(name: string, run: Command['run'] = async () => 0): Command {
  return { name, summary: `What ${name} does`, usage: `Usage: lessor ${name}\n`, run }
}

const COMMANDS = [
  command('serve', async (args) => {
    calls.push(['serve', ...args])
    return 0
  }),
  command('tenants', async (args) => {
    calls.push(['tenants', ...args])
    return 1
  }),
]

function failing(error: unknown): Command {
  return command('fail', async () => {
    throw error
  })
}

t.test('the first command is what no argument means, and a command gets what stands after it', async (t) => {
  t.equal(await runCommand(COMMANDS, [], testIo()), 0)
  t.equal(await runCommand(COMMANDS, ['tenants', 'create', '--count', '2'], testIo()), 1)
  t.strictSame(calls, [['serve'], ['tenants', 'create', '--count', '2']])
  t.equal(findCommand(COMMANDS, undefined)?.name, 'serve')
  t.equal(findCommand(COMMANDS, 'nothing'), undefined)
})

t.test('help lists the commands, and says how one is used', async (t) => {
  for (const word of ['help', '--help', '-h']) {
    const io = testIo()
    t.equal(await runCommand(COMMANDS, [word], io), 0)
    t.match(io.out(), /tenants +What tenants does/)
    t.equal(io.err(), '')
  }
  for (const args of [
    ['help', 'tenants'],
    ['tenants', 'create', '--help'],
    ['tenants', '-h'],
  ]) {
    const io = testIo()
    t.equal(await runCommand(COMMANDS, args, io), 0)
    t.equal(io.out(), 'Usage: lessor tenants\n')
  }
})

t.test('--help behind -- is for the program that a command runs', async (t) => {
  calls.length = 0
  await runCommand(COMMANDS, ['tenants', '--', '--help'], testIo())
  t.strictSame(calls, [['tenants', '--', '--help']])
})

t.test('the version is that of package.json', async (t) => {
  const io = testIo()
  t.equal(await runCommand(COMMANDS, ['--version'], io), 0)
  t.equal(io.out(), `${readVersion()}\n`)
})

t.test('a command that is not there ends with 2 and the nearest one, or all', async (t) => {
  const near = testIo()
  t.equal(await runCommand(COMMANDS, ['tenant'], near), 2)
  t.equal(near.err(), 'lessor: There is no command "tenant". Did you mean "tenants"?\n')
  const far = testIo()
  t.equal(await runCommand(COMMANDS, ['help', 'whatever'], far), 2)
  t.equal(far.err(), 'lessor: There is no command "whatever". There are serve, tenants, help.\n')
  t.equal(near.out() + far.out(), '')
})

t.test('wrong arguments end with 2 and lead to the help', async (t) => {
  const own = testIo()
  t.equal(await runCommand([failing(new UsageError('--count must be a number.'))], ['fail'], own), 2)
  t.equal(own.err(), 'lessor fail: --count must be a number.\nTry "lessor help fail".\n')
  const parsed = testIo()
  t.equal(await runCommand([serveCommand], ['serve', '--prot'], parsed), 2)
  t.equal(parsed.err(), `lessor serve: Unknown option '--prot'\nTry "lessor help serve".\n`)
})

t.test('an error is one line with its code and its cause, never a stack', async (t) => {
  for (const [error, line] of [
    [new LessorError('TENANT_NOT_FOUND'), 'There is no such tenant. (TENANT_NOT_FOUND)'],
    [
      new LessorError('CONTROL_UNAVAILABLE', undefined, { cause: new Error('connect ECONNREFUSED ::1:1') }),
      'The control database could not be reached. connect ECONNREFUSED ::1:1 (CONTROL_UNAVAILABLE)',
    ],
    [Object.assign(new Error('first\n  second'), { code: '42501' }), 'first second (42501)'],
    [new Error('plain'), 'plain'],
    ['thrown text', 'thrown text'],
  ] as const) {
    const io = testIo()
    t.equal(await runCommand([failing(error)], ['fail'], io), 1)
    t.equal(io.err(), `lessor fail: ${line}\n`)
  }
  const io = testIo()
  await runCommand([failing(new ConfigError(['PORT must be a number', 'HOST must be set']))], ['fail'], io)
  t.match(io.err(), /PORT must be a number\n +HOST must be set\n$/, 'a line for each variable')
})

t.test('whatever a command says when it is aborted, it was interrupted', async (t) => {
  const stop = new AbortController()
  const io = testIo({ signal: stop.signal })
  const interrupted = command('wait', async (_, { signal }) => {
    stop.abort()
    signal.throwIfAborted()
    return 0
  })
  t.equal(await runCommand([interrupted], ['wait'], io), 1)
  t.equal(io.err(), 'lessor wait: interrupted\n')
})
