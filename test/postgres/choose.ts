import { postgresEnvironment } from './environment.ts'
import { installPostgres } from './install.ts'
import { INSTALLED_VERSION, type PostgresVersion } from './versions.ts'

/**
 * environmentOf gets the PostgreSQL of a version, and resolves with what a run of tests and all that it starts must have in
 * its environment, besides `environment`, to use it.
 * @throws InstallError when it cannot be had
 */
export async function environmentOf(
  version: PostgresVersion,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Readonly<Record<string, string>>> {
  if (version === INSTALLED_VERSION) return {}
  const log = (line: string) => process.stderr.write(`${line}\n`)
  return postgresEnvironment(version, await installPostgres(version, { environment, log }), environment)
}
