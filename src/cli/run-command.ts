import { nearest } from '../nearest.ts'
import { readVersion } from '../version.ts'
import { type CliIo, type Command, UsageError } from './command.ts'
import { explainError, isUsageError } from './explain-error.ts'

const USAGE_STATUS = 2
const HELP = ['help', '--help', '-h']
const VERSION = ['--version', '-v']

/**
 * runCommand runs what the arguments name, the first command when they name none, and resolves with the
 * exit status. Errors are one line on standard error, without a stack.
 */
export async function runCommand(
  commands: readonly Command[],
  [first, ...rest]: readonly string[],
  io: CliIo,
): Promise<number> {
  try {
    if (first !== undefined && VERSION.includes(first)) return print(io, `${readVersion()}\n`)
    if (first !== undefined && HELP.includes(first)) return print(io, help(commands, rest[0]))
    const command = first === undefined ? commands[0] : find(commands, first)
    if (command === undefined) throw new UsageError('There is no command.')
    // Not behind a `--`, after which arguments are another program's.
    const own = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
    if (own.some((argument) => argument === '--help' || argument === '-h')) return print(io, command.usage)
    return await runOne(command, rest, io)
  } catch (error) {
    io.stderr.write(`lessor: ${explainError(error)}\n`)
    return isUsageError(error) ? USAGE_STATUS : 1
  }
}

/** findCommand is the command that the first argument names, the first of all without one. */
export function findCommand(commands: readonly Command[], name: string | undefined): Command | undefined {
  return name === undefined ? commands[0] : commands.find((command) => command.name === name)
}

async function runOne(command: Command, args: readonly string[], io: CliIo): Promise<number> {
  try {
    return await command.run(args, io)
  } catch (error) {
    const isUsage = isUsageError(error)
    const line = io.signal.aborted ? 'interrupted' : explainError(error)
    const hint = isUsage ? `\nTry "lessor help ${command.name}".` : ''
    io.stderr.write(`lessor ${command.name}: ${line}${hint}\n`)
    return isUsage ? USAGE_STATUS : 1
  }
}

function find(commands: readonly Command[], name: string): Command {
  const command = findCommand(commands, name)
  if (command !== undefined) return command
  const names = commands.map((each) => each.name)
  const near = nearest(name, [...names, 'help'])
  throw new UsageError(
    near === undefined
      ? `There is no command "${name}". There are ${[...names, 'help'].join(', ')}.`
      : `There is no command "${name}". Did you mean "${near}"?`,
  )
}

function help(commands: readonly Command[], name: string | undefined): string {
  if (name !== undefined) return find(commands, name).usage
  const width = Math.max(...commands.map((command) => command.name.length), 'help [command]'.length)
  const lines = commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`)
  return `Usage: lessor [command]

${lines.join('\n')}
  ${'help [command]'.padEnd(width)}  Say how a command is used
  ${'--version'.padEnd(width)}  Print the version

Keys and the database's URL come from the environment or .env, as for the service; see .env.example.
Without DATABASE_URL a command uses the embedded database of a service that runs under STATE_DIR.
`
}

function print(io: CliIo, text: string): number {
  io.stdout.write(text)
  return 0
}
