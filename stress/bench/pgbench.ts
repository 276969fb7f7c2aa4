import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Identifier, type Param, Statement } from '../../src/pool/statement.ts'

const run = promisify(execFile)

/** Script is a statement as pgbench reads it, with its parameters as variables. */
export interface Script {
  readonly text: string
  readonly variables: Readonly<Record<string, string>>
}

/** toScript turns a statement into pgbench's language. @throws TypeError for what it has no word for */
export function toScript(statement: Statement): Script {
  const variables: Record<string, string> = {}
  const text = render(statement, (value) => {
    if (typeof value !== 'string' && typeof value !== 'number')
      throw new TypeError('no variable for this value')
    const name = `p${Object.keys(variables).length + 1}`
    variables[name] = String(value)
    return `:${name}`
  })
  return { text: `${text.replaceAll(/\s+/g, ' ').trim()};\n`, variables }
}

export interface PgbenchOptions {
  readonly script: Script
  /** Without a password. */
  readonly database: { readonly host: string; readonly port: number; readonly name: string }
  readonly user: string
  readonly password: string
  readonly connections: number
  readonly seconds: number
  readonly folder: string
}

/** hasPgbench says whether pgbench is installed. */
export async function hasPgbench(): Promise<boolean> {
  try {
    await run('pgbench', ['--version'])
    return true
  } catch {
    // There is none on the PATH.
    return false
  }
}

/** runPgbench runs a statement, prepared, as often as it can, and resolves with how often a second. */
export async function runPgbench(options: PgbenchOptions): Promise<number> {
  const { script, database, user, password, connections, seconds, folder } = options
  const file = join(folder, 'list.sql')
  await writeFile(file, script.text)
  const variables = Object.entries(script.variables).flatMap(([name, value]) => ['-D', `${name}=${value}`])
  const { stdout } = await run(
    'pgbench',
    [
      ...['-n', '-M', 'prepared', '-c', String(connections), '-j', '1', '-T', String(seconds), '-f', file],
      ...variables,
      ...['-h', database.host, '-p', String(database.port), '-U', user, database.name],
    ],
    { env: { PATH: process.env.PATH, PGPASSWORD: password } },
  )
  const [, perSecond] = /tps = ([\d.]+)/.exec(stdout) ?? []
  if (perSecond === undefined) throw new Error(`pgbench did not say how fast it was:\n${stdout}`)
  return Number(perSecond)
}

function render(statement: Statement, toVariable: (value: Param) => string): string {
  let text = ''
  for (const [i, string] of statement.strings.entries()) {
    text += escapeLiterals(string)
    const value = statement.values[i]
    if (value instanceof Identifier) throw new TypeError('no variable for an identifier')
    if (value instanceof Statement) text += render(value, toVariable)
    else if (value !== undefined) text += toVariable(value)
  }
  return text
}

/** pgbench takes `:MI` for a variable even inside a literal; an escape says the same to the server. */
function escapeLiterals(text: string): string {
  return text.replaceAll(/'[^']*'/g, (literal) =>
    /:\w/.test(literal) ? `E${literal.replaceAll('\\', '\\\\').replaceAll(':', '\\x3a')}` : literal,
  )
}
