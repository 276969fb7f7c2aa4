import { isCitus } from '../placement/citus.ts'
import { hexOf } from '../placement/tenant-names.ts'
import { type Db, sql } from '../pool/statement.ts'
import { type CatalogObject, readObjects } from './catalog-objects.ts'
import { type CatalogReport, checkCatalog } from './check-catalog.ts'
import type { Stage } from './stage.ts'

/** Surroundings is what a session could reach on its server. */
export interface Surroundings {
  readonly catalog: CatalogReport
  readonly objects: readonly CatalogObject[]
  readonly roles: readonly string[]
  readonly databases: readonly { readonly name: string; readonly isOpen: boolean }[]
  /** Groups that the attacker's login may become: before PostgreSQL 16 nobody can be kept from that. */
  readonly groups: readonly string[]
  /** Whether Citus spreads the tables over other servers. */
  readonly isDistributed: boolean
  /** Whether the administrator may revoke what belongs to PostgreSQL itself. */
  readonly isSuperuser: boolean
}

/** look reads what there is around a stage, as the administrator in the database of its tables. */
export async function look(admin: Db, stage: Stage): Promise<Surroundings> {
  const { own, other, server } = stage
  const catalog = await checkCatalog(admin, server, [hexOf(own.id), hexOf(other.id)])
  const objects = await readObjects(admin)
  const roles = await admin.query<{ name: string }>(sql`
    select rolname as name from pg_roles
    where rolname like 'lessor\\_%' or rolname like 'pg\\_%' or rolsuper or rolcreaterole
      or rolname like ${`%${hexOf(own.id)}%`} or rolname like ${`%${hexOf(other.id)}%`}
    order by rolname`)
  const databases = await admin.query<{ name: string; isOpen: boolean }>(sql`
    select datname as name, exists (
      select from aclexplode(coalesce(datacl, acldefault('d', datdba))) a
      where a.grantee = 0 and a.privilege_type = 'CONNECT') as "isOpen"
    from pg_database
    where datallowconn and datname <> ${own.target.database}
      and (datname !~ '^t_[0-9a-f]{32}$' or datname = ${`t_${hexOf(other.id)}`})
    order by datname`)
  const groups = await admin.query<{ name: string }>(sql`
    select g.rolname as name from pg_roles r
    join pg_roles g on g.oid <> r.oid and pg_has_role(r.oid, g.oid, 'member')
    where r.rolname = ${own.target.user} and current_setting('server_version_num')::integer < 160000`)
  const isDistributed = await isCitus(admin)
  const [self] = await admin.query<{ isSuperuser: boolean }>(sql`
    select rolsuper as "isSuperuser" from pg_roles where rolname = current_user`)
  return {
    catalog,
    objects,
    roles: names(roles),
    databases,
    groups: names(groups),
    isDistributed,
    isSuperuser: self?.isSuperuser === true,
  }
}

function names(rows: readonly { readonly name: string }[]): readonly string[] {
  return rows.map(({ name }) => name)
}
