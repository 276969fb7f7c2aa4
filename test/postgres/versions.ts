/** POSTGRES_VERSIONS are the major versions that SECURITY.md promises, oldest first. */
export const POSTGRES_VERSIONS = ['15', '16', '17', '18'] as const

export type PostgresVersion = (typeof POSTGRES_VERSIONS)[number]

/** INSTALLED_VERSION is the one that comes with the development dependencies; the others are fetched on first use. */
export const INSTALLED_VERSION = '18' satisfies PostgresVersion

/** isPostgresVersion says whether it is one of {@link POSTGRES_VERSIONS}. */
export function isPostgresVersion(text: string): text is PostgresVersion {
  return POSTGRES_VERSIONS.some((version) => version === text)
}
