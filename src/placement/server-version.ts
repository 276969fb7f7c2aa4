import { LessorError } from '../errors.ts'
import { type Db, sql } from '../pool/statement.ts'

/** Oldest minor release of each major that is free of known ways around row security. */
const OLDEST_SAFE: readonly (readonly [major: number, minor: number])[] = [
  [15, 14],
  [16, 10],
  [17, 6],
]

/**
 * requireSafeVersion refuses a server on which a tenant could read rows of others past row level
 * security: through planner statistics until CVE-2025-8713 was fixed, and through earlier holes.
 * See https://www.postgresql.org/support/security/CVE-2025-8713/.
 * @throws LessorError PLACEMENT_UNAVAILABLE
 */
export async function requireSafeVersion(admin: Db): Promise<void> {
  const [row] = await admin.query<{ version: number }>(
    sql`select current_setting('server_version_num')::integer as version`,
  )
  const problem = unsafeVersion(row?.version ?? 0)
  if (problem !== undefined) throw new LessorError('PLACEMENT_UNAVAILABLE', problem)
}

/** unsafeVersion says what is wrong with a `server_version_num` for tables that tenants share. */
export function unsafeVersion(version: number): string | undefined {
  const major = Math.floor(version / 10_000)
  const minor = version % 10_000
  const oldest = OLDEST_SAFE.find(([each]) => each === major)
  if (oldest === undefined ? major > 17 : minor >= oldest[1]) return undefined
  const wanted = OLDEST_SAFE.map((each) => each.join('.')).join(', ')
  return `The data server runs PostgreSQL ${major}.${minor}; tenants may share tables on ${wanted} or newer.`
}
