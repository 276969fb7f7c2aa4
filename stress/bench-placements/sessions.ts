import type { Sql } from 'postgres'

/** sessions is the processes at the database that serve the service's tenants, by how their logins are named. */
export async function sessions(admin: Sql): Promise<readonly number[]> {
  const rows = await admin<{ pid: number }[]>`
    select pid from pg_stat_activity where usename ~ '^(t[bg]_[0-9a-f]{32}|lessor_row_[0-9a-f]{12})$'`
  return rows.map(({ pid }) => pid)
}
