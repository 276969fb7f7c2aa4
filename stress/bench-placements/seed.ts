import postgres, { type Sql } from 'postgres'
import type { Tenants } from './house.ts'

/** USERS_PER_TENANT is how many rows every tenant has. */
export const USERS_PER_TENANT = 100
/** OTHER_TENANTS have rows in the shared table as well, so that it is as large as one that serves many. */
export const OTHER_TENANTS = 900

/**
 * seed gives every tenant its users, in the shared tables among those of many others. Visibility marks are left
 * as writing leaves them, in every placement: a VACUUM at some moment would change what is measured.
 */
export async function seed(admin: Sql, databaseUrl: string, tenants: Tenants): Promise<void> {
  const shared = [...tenants.row, ...tenants.role].map(({ id }) => id)
  await admin`alter table app.users set (autovacuum_enabled = false)`
  await admin`
    with tenants as (
      select unnest(${shared}::uuid[]) as id
      union all select gen_random_uuid() from generate_series(1, ${OTHER_TENANTS})
    )
    insert into app.users (tenant_id, first_name, last_name, created_at)
    select id, 'First ' || n, 'Last ' || n, now() - interval '1 minute' * (${USERS_PER_TENANT} - n)
    from tenants, generate_series(1, ${USERS_PER_TENANT}) n
    order by n, random()`
  await look(admin, 'app')
  for (const { id } of tenants.schema) await seedOwn(admin, ownName(id), id)
  for (const { id } of tenants.database) {
    const url = new URL(databaseUrl)
    url.pathname = `/${ownName(id)}`
    const own = postgres(url.href, { max: 1, onnotice: () => {} })
    try {
      await seedOwn(own, 'app', id)
    } finally {
      await own.end({ timeout: 1 })
    }
  }
}

/** ownName is a tenant's own schema or database. */
export function ownName(tenantId: string): string {
  return `t_${tenantId.replaceAll('-', '')}`
}

async function seedOwn(db: Sql, schema: string, tenantId: string): Promise<void> {
  await db`alter table ${db(schema)}.users set (autovacuum_enabled = false)`
  await db`
    insert into ${db(schema)}.users (tenant_id, first_name, last_name, created_at)
    select ${tenantId}::uuid, 'First ' || n, 'Last ' || n, now() - interval '1 minute' * (${USERS_PER_TENANT} - n)
    from generate_series(1, ${USERS_PER_TENANT}) n`
  await look(db, schema)
}

/** Whoever reads first after a write marks the rows, and writes; that is done here. */
async function look(db: Sql, schema: string): Promise<void> {
  await db`select count(*) from ${db(schema)}.users`
  await db`analyze ${db(schema)}.users`
}
