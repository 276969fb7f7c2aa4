import { parseArgs } from 'node:util'
import { loadConfig } from '../../src/config.ts'
import { ATTACKS } from '../../src/isolation/siege/attacks.ts'
import type { SiegeAttack, SiegeSizes } from '../../src/isolation/siege/siege-attack.ts'
import { PLACEMENTS, type PlacementName } from '../../src/tenants/tenant.ts'
import { explainParse, isServerUrl, SERVER_URL_ERROR } from './server-url.ts'

export const SIEGE_USAGE = `npm run isolation -- --siege [options]

Lets the logins of tenants attack a PostgreSQL that it starts, while other tenants read and write and an operator works.
Exit status: 0 every bound holds, 1 not, 2 wrong use.

  --placement <name>      attacks in this one alone (${PLACEMENTS.join(', ')}); may be repeated
  --attack <name>         this attack alone; may be repeated. --list names all
  --seconds <n>           how long each attack lasts at least, 3 by default
  --tables <n>            tables of an attacker that has very many, 40000 by default
  --large-objects <n>     large objects of one, 60000 by default
  --url <url>             a superuser of a server of your own. It is attacked for real: its other users are hurt as well
  --log-level <level>     of the service's log, on standard error; silent by default
  --list                  lists the attacks, and where each is possible
  --help                  prints this
`

/** HINT follows the sentence that says what is wrong with the arguments. */
export const HINT = 'npm run isolation -- --help lists the options.'

/** SiegeWish is what the command line asks for. */
export interface SiegeWish {
  readonly placements: readonly PlacementName[]
  readonly attacks: readonly SiegeAttack[]
  readonly seconds: number
  readonly sizes: SiegeSizes
  readonly url: string | undefined
  readonly logLevel: string
  readonly lists: boolean
}

/** readSiegeOptions reads the arguments behind `--siege`; a string says what is wrong with them. */
export function readSiegeOptions(args: readonly string[]): SiegeWish | string {
  let values: ReturnType<typeof parse>
  try {
    values = parse(args)
  } catch (error) {
    return explainParse(error)
  }
  const wrongPlacement = values.placement.find((name) => !PLACEMENTS.some((each) => each === name))
  if (wrongPlacement !== undefined) {
    return `There is no placement "${wrongPlacement}"; a placement is one of ${PLACEMENTS.join(', ')}.`
  }
  const wrongAttack = values.attack.find((name) => !ATTACKS.some((each) => each.name === name))
  if (wrongAttack !== undefined) return `There is no attack "${wrongAttack}"; --list names them.`
  const placements = PLACEMENTS.filter(
    (name) => values.placement.length === 0 || values.placement.includes(name),
  )
  const attacks = ATTACKS.filter(({ name }) => values.attack.length === 0 || values.attack.includes(name))
  if (!attacks.some((attack) => placements.some((name) => attack.placements.includes(name)))) {
    return `None of these attacks is possible in placement ${placements.join(', ')}; --list says where each is.`
  }
  const numbers: Record<string, number> = {}
  for (const name of ['seconds', 'tables', 'large-objects'] as const) {
    const value = Number(values[name])
    if (!/^\d+$/.test(values[name]) || value < 1 || value > LIMITS[name]) {
      return `--${name} must be a whole number from 1 to ${LIMITS[name]}.`
    }
    numbers[name] = value
  }
  if (values.url !== undefined && !isServerUrl(values.url)) return SERVER_URL_ERROR
  const logProblem = findLogProblem(values['log-level'])
  if (logProblem !== undefined) return logProblem
  const { seconds = 1, tables = 1, 'large-objects': largeObjects = 1 } = numbers
  return {
    placements,
    attacks,
    seconds,
    sizes: { tables, largeObjects },
    url: values.url,
    logLevel: values['log-level'],
    lists: values.list,
  }
}

/** Whether it is a level is the configuration's to say. */
function findLogProblem(level: string): string | undefined {
  try {
    loadConfig({ LOG_LEVEL: level })
    return undefined
  } catch (error) {
    return `${explainParse(error).replace(/^.*LOG_LEVEL/, '--log-level')}.`
  }
}

/** SIEGE_ONLY is the options that mean nothing without --siege. */
export const SIEGE_ONLY = ['attack', 'seconds', 'tables', 'large-objects', 'log-level', 'list'] as const

const LIMITS = { seconds: 3_600, tables: 1_000_000, 'large-objects': 10_000_000 } as const

/** @throws TypeError for an option that there is not */
function parse(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      placement: { type: 'string', multiple: true, default: [] },
      attack: { type: 'string', multiple: true, default: [] },
      seconds: { type: 'string', default: '3' },
      tables: { type: 'string', default: '40000' },
      'large-objects': { type: 'string', default: '60000' },
      url: { type: 'string' },
      'log-level': { type: 'string', default: 'silent' },
      list: { type: 'boolean', default: false },
    },
  })
  return values
}
