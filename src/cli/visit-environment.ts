import type { Environment } from '../config.ts'
import { isSecretName } from '../config-variables.ts'
import type { Visit } from '../tenants/visits.ts'

/** visitEnvironment is a login as libpq reads it from its environment (PostgreSQL's manual, "Environment Variables"). */
export function visitEnvironment(visit: Visit): Readonly<Record<string, string>> {
  const options = Object.entries(visit.parameters).map(([name, value]) => `-c ${name}=${escapeOption(value)}`)
  return {
    PGHOST: visit.host,
    PGPORT: String(visit.port),
    PGDATABASE: visit.database,
    PGUSER: visit.role,
    PGPASSWORD: visit.password.reveal(),
    PGSSLMODE: visit.tls,
    PGOPTIONS: options.join(' '),
  }
}

/** psqlEnvironment is that with all of ours but its secrets, which psql would hand on to whatever it starts. */
export function psqlEnvironment(visit: Visit, own: Environment): Record<string, string | undefined> {
  const rest = Object.entries(own).filter(([name]) => !isSecretName(name))
  return { ...Object.fromEntries(rest), ...visitEnvironment(visit) }
}

/** shellLines sets the variables in a shell that reads them. */
export function shellLines(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'\n`)
    .join('')
}

/** In PGOPTIONS a backslash stands before a space or a backslash. */
function escapeOption(value: string): string {
  return value.replaceAll(/[\\\s]/g, '\\$&')
}
