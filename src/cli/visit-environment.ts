import type { Environment } from '../config.ts'
import { isSecretName } from '../config-variables.ts'
import { hostsOf } from '../pool/contract.ts'
import type { Visit } from '../tenants/visits.ts'

/**
 * visitEnvironment is a login as libpq reads it from its environment (PostgreSQL's manual, "Environment Variables"),
 * but for root certificates that lie in no file; see certificatesOf.
 */
export function visitEnvironment(visit: Visit): Readonly<Record<string, string>> {
  const hosts = hostsOf(visit)
  const { rootCertificates } = visit
  const certificates = rootCertificates?.isSystem ? 'system' : rootCertificates?.path
  const options = Object.entries(visit.parameters).map(([name, value]) => `-c ${name}=${escapeOption(value)}`)
  return {
    PGHOST: hosts.map(({ host }) => host).join(),
    PGPORT: hosts.map(({ port }) => port).join(),
    // `read-write` would refuse sessions that begin read only, as a visitor's may.
    ...(hosts.length > 1 && { PGTARGETSESSIONATTRS: 'primary' }),
    PGDATABASE: visit.database,
    PGUSER: visit.role,
    PGPASSWORD: visit.password.reveal(),
    PGSSLMODE: visit.tls,
    ...(certificates !== undefined && { PGSSLROOTCERT: certificates }),
    PGOPTIONS: options.join(' '),
  }
}

/** certificatesOf is the root certificates that libpq can read only from a file which is yet to be written. */
export function certificatesOf({ rootCertificates }: Visit): string | undefined {
  const { isSystem, path, text } = rootCertificates ?? { isSystem: true }
  return isSystem || path !== undefined ? undefined : text
}

/** psqlEnvironment is that with all of ours but its secrets, which psql would hand on to whatever it starts. */
export function psqlEnvironment(visit: Visit, own: Environment): Record<string, string | undefined> {
  const rest = Object.entries(own).filter(([name]) => !isSecretName(name))
  return { ...Object.fromEntries(rest), ...visitEnvironment(visit) }
}

/** shellLines sets the variables in a shell that reads them. */
export function shellLines(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `export ${name}=${quote(value)}\n`)
    .join('')
}

/** certificateLines writes root certificates into a file and names it for libpq, in a shell that reads them. */
export function certificateLines(pem: string): string {
  return `PGSSLROOTCERT="$(mktemp)" && printf '%s' ${quote(pem)} > "$PGSSLROOTCERT"\nexport PGSSLROOTCERT\n`
}

function quote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`
}

/** In PGOPTIONS a backslash stands before a space or a backslash. */
function escapeOption(value: string): string {
  return value.replaceAll(/[\\\s]/g, '\\$&')
}
