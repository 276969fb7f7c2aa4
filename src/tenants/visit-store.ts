import { type Db, sql } from '../pool/statement.ts'

/** VisitRecord is a login that was made for a person, and where. */
export interface VisitRecord {
  readonly role: string
  readonly tenantId: string
  readonly server: string
  readonly visitor: string
  readonly validUntil: Date
}

const COLUMNS = sql`role, tenant_id as "tenantId", server, visitor, valid_until as "validUntil"`

/** insertVisit notes a login that is about to be made; undefined when the tenant does not live. */
export async function insertVisit(
  db: Db,
  visit: {
    readonly role: string
    readonly tenantId: string
    readonly visitor: string
    readonly minutes: number
  },
): Promise<VisitRecord | undefined> {
  const [row] = await db.query<VisitRecord>(sql`
    insert into lessor.visits (role, tenant_id, server, visitor, valid_until)
    select ${visit.role}::text, id, server, ${visit.visitor}::text,
      now() + ${visit.minutes}::integer * interval '1 minute'
    from lessor.tenants
    where id = ${visit.tenantId}::uuid and status in ('active', 'suspended')
    returning ${COLUMNS}`)
  return row
}

/** hasVisit says whether a login is still meant to be there. */
export async function hasVisit(db: Db, role: string): Promise<boolean> {
  return (await db.query(sql`select from lessor.visits where role = ${role}`)).length > 0
}

/** removeVisit forgets a login that was dropped. */
export async function removeVisit(db: Db, role: string): Promise<void> {
  await db.query(sql`delete from lessor.visits where role = ${role}`)
}

/** removeVisits forgets all logins of a tenant's visitors. */
export async function removeVisits(db: Db, tenantId: string): Promise<void> {
  await db.query(sql`delete from lessor.visits where tenant_id = ${tenantId}::uuid`)
}

/** listExpiredVisits resolves with the logins whose time is over. */
export async function listExpiredVisits(db: Db): Promise<readonly VisitRecord[]> {
  return db.query<VisitRecord>(sql`
    select ${COLUMNS} from lessor.visits where valid_until < now() order by valid_until`)
}
