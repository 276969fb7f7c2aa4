import type { Sql } from 'postgres'
import { credentialContext } from '../../src/tenants/login.ts'
import { parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'

const USERS_PER_TENANT = 100
const OTHER_TENANTS = 999

/** Seeded is what the bench needs to know of the measured tenant. */
export interface Seeded {
  readonly rows: number
  /** Users whose every change takes a second. */
  readonly slowUsers: readonly string[]
}

/**
 * seed fills the table with users of many tenants, mixed as they come in over time, the measured
 * tenant's among them. The oldest two of that one are slow to change: a trigger sleeps, so that both
 * servers have a slow statement without a route of its own.
 */
export async function seed(admin: Sql, tenantId: string): Promise<Seeded> {
  await admin`
    with tenants as (
      select ${tenantId}::uuid as id union all select gen_random_uuid() from generate_series(1, ${OTHER_TENANTS})
    )
    insert into app.users (tenant_id, first_name, last_name, created_at)
    select id, 'First ' || n, 'Last ' || n, now() - interval '1 minute' * (${USERS_PER_TENANT} - n)
    from tenants, generate_series(1, ${USERS_PER_TENANT}) n
    order by n, random()`
  const slow = await admin<{ id: string }[]>`
    update app.users set last_name = 'slow'
    where (tenant_id, id) in (
      select tenant_id, id from app.users where tenant_id = ${tenantId} order by created_at limit 2)
    returning id`
  await admin`
    create function app.sleep() returns trigger language plpgsql as $$
    begin
      perform pg_sleep(1);
      return new;
    end $$`
  await admin`
    create trigger sleep before update on app.users for each row when (old.last_name = 'slow')
    execute function app.sleep()`
  // As in a table that is written to: rows of many tenants share a page, and whoever changes one of them
  // takes the page's mark of being visible to all from the others. VACUUM would set it, if it comes at the
  // right moment, and the two servers would be measured on different tables from run to run.
  await admin`alter table app.users set (autovacuum_enabled = false)`
  await admin`select count(*) from app.users`
  await admin`analyze app.users`
  return { rows: (OTHER_TENANTS + 1) * USERS_PER_TENANT, slowUsers: slow.map(({ id }) => id) }
}

/** Login is the tenant's own, as Lessor uses it. */
export interface TenantLogin {
  readonly user: string
  readonly password: string
}

/** tenantLogin opens the tenant's sealed credential, so that others can log in as the same role. */
export async function tenantLogin(admin: Sql, tenantId: string, vaultKeys: string): Promise<TenantLogin> {
  const [row] = await admin<{ envelope: Uint8Array }[]>`
    select envelope from lessor.credentials where tenant_id = ${tenantId}`
  if (row === undefined) throw new Error('the tenant has no credential')
  const password = await new Vault(parseVaultKeys(vaultKeys)).open(row.envelope, credentialContext(tenantId))
  return { user: `tb_${tenantId.replaceAll('-', '')}`, password: password.toString('utf8') }
}

/** quiet resolves when the role has had no statement under way for a moment. */
export async function quiet(admin: Sql, user: string): Promise<void> {
  for (let calm = 0; calm < 3; ) {
    const [row] = await admin`select 1 from pg_stat_activity where usename = ${user} and state <> 'idle'`
    calm = row === undefined ? calm + 1 : 0
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
