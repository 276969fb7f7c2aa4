import type { Scenario } from '../scenario.ts'

/**
 * tenantChurn has tenants come, work and go, with more tenants than may be resident and fewer
 * connections than callers, so that onboarding and deletion need theirs from the same budgets.
 */
export const tenantChurn: Scenario = {
  name: 'tenant-churn',
  about: 'tenants are onboarded, work and are deleted while 40 others work; 24 connections; 40 seconds',
  service: { POOL_MAX_ENTRIES: '30', SERVER_MAX_CONNECTIONS: '24', API_KEY_CACHE_SECONDS: '600' },
  script: { TENANTS: '40', STAYERS: '12', COMERS: '4', SECONDS: '25' },
  maxSeconds: 180,
  async after({ sql }) {
    const [row] = await sql<{ roles: number; rows: number; credentials: number }[]>`
      with gone as (select id as gone_id from lessor.tenants where status = 'deleted')
      select
        (select count(*)::integer from pg_roles, gone
          where rolname ~ '^t[bg]_' and right(rolname, 32) = replace(gone_id::text, '-', '')) as roles,
        (select count(*)::integer from app.users join gone on tenant_id = gone_id) as rows,
        (select count(*)::integer from lessor.credentials join gone on tenant_id = gone_id) as credentials`
    return { left_roles: row?.roles ?? 0, left_rows: row?.rows ?? 0, left_credentials: row?.credentials ?? 0 }
  },
  claims: ({ service: { evictions }, facts }) => [
    { claim: 'pools were evicted for their deletion', held: (evictions.deletion ?? 0) > 0 },
    {
      claim: 'deleted tenants left no role, no row and no credential',
      held: facts.left_roles === 0 && facts.left_rows === 0 && facts.left_credentials === 0,
      seen: `${facts.left_roles} roles, ${facts.left_rows} rows, ${facts.left_credentials} credentials`,
    },
  ],
}
