import { readFileSync } from 'node:fs'
import { envSchema } from 'env-schema'
import type { Static } from 'typebox'
import {
  FORMATS,
  isSecretName,
  SECRET_NAMES,
  VARIABLE_NAMES,
  VARIABLES,
  type VariableName,
} from './config-variables.ts'
import { nearest } from './nearest.ts'

/** Environment is a set of variables as `process.env` holds them. An empty one counts as unset. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Values is every variable after its check, with its default where it was unset. */
export type Values = Static<typeof VARIABLES>

/**
 * readGiven returns the variables that are set, with the content of `<NAME>_FILE` in the place of
 * `<NAME>`. What is wrong is added to `problems`.
 */
export function readGiven(environment: Environment, problems: string[]): Record<string, string> {
  const given: Record<string, string> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && value !== '') given[name] = value
  }
  for (const name of SECRET_NAMES) {
    const file = given[`${name}_FILE`]
    if (file === undefined) continue
    if (given[name] !== undefined) problems.push(`Set ${name} or ${name}_FILE, not both`)
    const content = readText(`${name}_FILE`, file, problems)
    if (content !== undefined) given[name] = content.trim()
  }
  return given
}

/**
 * check returns the values of `given` with defaults filled in. Each variable that does not fit, is
 * missing or contradicts another one is added to `problems`; one that does not fit has its default.
 */
export function check(given: Environment, problems: string[]): Values {
  const fitting: Record<string, string | undefined> = { ...given }
  for (const name of misfits(fitting)) {
    const shown = isSecretName(name) ? '' : `, not ${JSON.stringify(given[name])}`
    problems.push(`${name} must be ${title(name)}${shown}`)
    delete fitting[name]
  }
  const values = validate(fitting)
  if (values.NODE_ENV === 'production') {
    if (given.HOST === undefined) values.HOST = '0.0.0.0'
    problems.push(...missing(given))
  }
  problems.push(...contradictions(values))
  return values
}

/** readText returns the file's text, or adds to `problems` why it cannot and returns undefined. */
export function readText(name: string, path: string, problems: string[]): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? error.code : 'unknown reason'
    problems.push(`${name} must be the path of a readable file, not ${JSON.stringify(path)} (${reason})`)
    return undefined
  }
}

/** misspelt returns a sentence for each variable whose name is nearly one of Lessor's. */
export function misspelt(given: Environment): string[] {
  return Object.keys(given)
    .filter((name) => name.length > 6 && !VARIABLE_NAMES.some((known) => known === name))
    .flatMap((name) => {
      const known = nearest(name, VARIABLE_NAMES)
      return known === undefined ? [] : [`${name} is not a variable of Lessor: did you mean ${known}?`]
    })
}

/** tight returns a sentence for each limit that is smaller than what the service itself needs. */
export function tight(values: Values): string[] {
  const { POOL_MAX_CONNECTIONS, ROLE_CONNECTION_LIMIT, WATCHDOG, WATCHDOG_TRANSACTION_MS } = values
  const found: string[] = []
  if (ROLE_CONNECTION_LIMIT !== 0 && ROLE_CONNECTION_LIMIT < POOL_MAX_CONNECTIONS) {
    found.push(
      `ROLE_CONNECTION_LIMIT (${ROLE_CONNECTION_LIMIT}) is less than POOL_MAX_CONNECTIONS (${POOL_MAX_CONNECTIONS}): ` +
        'PostgreSQL refuses connections that the pools may open. Set it to POOL_MAX_CONNECTIONS times the nodes at least, or leave it out',
    )
  }
  const requestMs = Math.max(values.REQUEST_TIMEOUT_MS, values.STATEMENT_TIMEOUT_MS)
  if (WATCHDOG === 'on' && WATCHDOG_TRANSACTION_MS < requestMs) {
    found.push(
      `WATCHDOG_TRANSACTION_MS (${WATCHDOG_TRANSACTION_MS}) is less than a request may take (${requestMs}, the larger of ` +
        'REQUEST_TIMEOUT_MS and STATEMENT_TIMEOUT_MS): the watchdog ends transactions of the service itself, and blocks their tenants. Raise it',
    )
  }
  return found
}

function misfits(given: Environment): readonly VariableName[] {
  try {
    validate(given)
    return []
  } catch (error) {
    const errors = error instanceof Error && 'errors' in error ? error.errors : []
    const paths = Array.isArray(errors) ? errors.map((each) => String(each.instancePath).slice(1)) : []
    const names = VARIABLE_NAMES.filter((name) => paths.includes(name))
    if (names.length === 0) throw error
    return names
  }
}

function validate(given: Environment): Values {
  return envSchema<Values>({
    schema: VARIABLES,
    env: false,
    data: given,
    ajv: {
      customOptions: (ajv) => {
        for (const [name, test] of Object.entries(FORMATS)) ajv.addFormat(name, test)
        return ajv
      },
    },
  })
}

function title(name: VariableName): string {
  const schema = VARIABLES.properties[name]
  return 'title' in schema ? String(schema.title) : 'valid'
}

function missing(given: Environment): string[] {
  return (['DATABASE_URL', 'OPERATOR_KEY', 'VAULT_KEYS'] as const)
    .filter((name) => given[name] === undefined && given[`${name}_FILE`] === undefined)
    .map((name) => `${name} must be set in production: ${title(name)}`)
}

function contradictions(values: Values): string[] {
  const problems: string[] = []
  if ((values.TLS_CERT_FILE === undefined) !== (values.TLS_KEY_FILE === undefined)) {
    problems.push('TLS_CERT_FILE and TLS_KEY_FILE must be set together')
  }
  if (values.SERVER_MAX_CONNECTIONS < values.POOL_MAX_CONNECTIONS) {
    problems.push(
      `SERVER_MAX_CONNECTIONS (${values.SERVER_MAX_CONNECTIONS}) must not be less than ` +
        `POOL_MAX_CONNECTIONS (${values.POOL_MAX_CONNECTIONS})`,
    )
  }
  const draining = values.SHUTDOWN_DELAY_MS + values.POOL_DRAIN_TIMEOUT_MS
  if (values.SHUTDOWN_TIMEOUT_MS <= draining) {
    problems.push(
      `SHUTDOWN_TIMEOUT_MS (${values.SHUTDOWN_TIMEOUT_MS}) must be more than ` +
        `SHUTDOWN_DELAY_MS + POOL_DRAIN_TIMEOUT_MS (${draining})`,
    )
  }
  return problems
}
