import { parseArgs } from 'node:util'
import { PLACEMENTS, type PlacementName } from '../../src/tenants/tenant.ts'
import { explainParse, isServerUrl, SERVER_URL_ERROR } from './server-url.ts'
import { SIEGE_ONLY, SIEGE_USAGE } from './siege-options.ts'

export const ISOLATION_USAGE = `npm run isolation [-- options]

Onboards tenants in each placement, lets them attack each other by everything that the catalog has, and writes
reports/isolation.md and reports/isolation.json. Exit status: 0 all walls hold, 1 not, 2 wrong use.

  --placement <name>      this placement alone (${PLACEMENTS.join(', ')}); may be repeated
  --url <url>             a server of your own, in a database that is made there and dropped; without, one is started
  --mutate                then takes down one wall after the other and sees the proof fail; as a superuser, takes minutes
  --siege                 what logins can stop, and not what they can read: see below
  --help                  prints this
`

/** ALL_USAGE is what --help prints. */
export const ALL_USAGE = `${ISOLATION_USAGE}\n${SIEGE_USAGE}`

/** IsolationWish is what the command line asks for. */
export interface IsolationWish {
  readonly placements: readonly PlacementName[]
  readonly url: string | undefined
  readonly mutates: boolean
}

/** readIsolationOptions reads the arguments of the plain proof; a string says what is wrong with them. */
export function readIsolationOptions(args: readonly string[]): IsolationWish | string {
  let values: ReturnType<typeof parse>
  try {
    values = parse(args)
  } catch (error) {
    const siegeOption = SIEGE_ONLY.find((name) =>
      args.some((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`)),
    )
    if (siegeOption !== undefined) return `--${siegeOption} belongs to --siege.`
    return explainParse(error)
  }
  const wrong = values.placement.find((name) => !PLACEMENTS.some((each) => each === name))
  if (wrong !== undefined) {
    return `There is no placement "${wrong}"; a placement is one of ${PLACEMENTS.join(', ')}.`
  }
  if (values.url !== undefined && !isServerUrl(values.url)) return SERVER_URL_ERROR
  return {
    placements: PLACEMENTS.filter((name) => values.placement.length === 0 || values.placement.includes(name)),
    url: values.url,
    mutates: values.mutate,
  }
}

/** @throws TypeError for an option that there is not */
function parse(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      url: { type: 'string' },
      placement: { type: 'string', multiple: true, default: [] },
      mutate: { type: 'boolean', default: false },
    },
  })
  return values
}
