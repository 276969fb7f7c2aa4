import { type Db, type Statement, sql } from '../pool/statement.ts'

/** KeyOwner is whom a key is for: one tenant or, without `tenantId`, every tenant of the namespace. */
export interface KeyOwner {
  readonly namespaceId: string
  readonly tenantId: string | null
}

/** KeyInfo is what may be shown of a key. */
export interface KeyInfo {
  readonly id: string
  readonly name: string | null
  readonly createdAt: Date
  readonly revokedAt: Date | null
}

/** KeyRecord is a key as it is stored. */
export interface KeyRecord extends KeyInfo, KeyOwner {
  /** What a SecretHasher made of the key: `hmac-sha-256$...`, or argon2id's PHC string. */
  readonly hash: string
}

const SHOWN = sql`id, name, created_at as "createdAt", revoked_at as "revokedAt"`

/** insertKey stores a new key. */
export async function insertKey(
  db: Db,
  key: KeyOwner & { readonly id: string; readonly name: string | null; readonly hash: string },
): Promise<KeyInfo> {
  const [row] = await db.query<KeyInfo>(sql`
    insert into lessor.api_keys (id, namespace_id, tenant_id, name, hash)
    values (${key.id}, ${key.namespaceId}, ${key.tenantId}, ${key.name}, ${key.hash})
    returning ${SHOWN}`)
  if (row === undefined) throw new Error('bug: an insert returned no row')
  return row
}

/** findKeys resolves with the keys of these ids, revoked or not, in any order; unknown ids are left out. */
export async function findKeys(db: Db, ids: readonly string[]): Promise<readonly KeyRecord[]> {
  return db.query<KeyRecord>(sql`
    select ${SHOWN}, hash, namespace_id as "namespaceId", tenant_id as "tenantId"
    from lessor.api_keys
    where id = any(${ids}::text[])`)
}

/** replaceHash stores another hash of the same key, unless the one that is there has become another meanwhile. */
export async function replaceHash(
  db: Db,
  id: string,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<void> {
  await db.query(sql`update lessor.api_keys set hash = ${to} where id = ${id} and hash = ${from}`)
}

/** listKeys resolves with an owner's keys, newest first, revoked ones included, from after one key on. */
export async function listKeys(
  db: Db,
  owner: KeyOwner,
  page: { readonly limit: number; readonly after: string | undefined },
): Promise<readonly KeyInfo[]> {
  return db.query<KeyInfo>(sql`
    select ${SHOWN}
    from lessor.api_keys
    where ${ownedBy(owner)} ${startingAfter(page.after)}
    order by created_at desc, id desc
    limit ${page.limit}`)
}

/** revokeKey ends a key and resolves with false when the owner has none of this id; a second time changes nothing. */
export async function revokeKey(db: Db, owner: KeyOwner, id: string): Promise<boolean> {
  const rows = await db.query(sql`
    update lessor.api_keys
    set revoked_at = coalesce(revoked_at, now())
    where id = ${id} and ${ownedBy(owner)}
    returning id`)
  return rows.length > 0
}

/** removeTenantKeys removes every key that is limited to the tenant. */
export async function removeTenantKeys(db: Db, tenantId: string): Promise<void> {
  await db.query(sql`delete from lessor.api_keys where tenant_id = ${tenantId}`)
}

// Two forms instead of IS NOT DISTINCT FROM, which no index serves.
function ownedBy(owner: KeyOwner): Statement {
  return owner.tenantId === null
    ? sql`namespace_id = ${owner.namespaceId} and tenant_id is null`
    : sql`namespace_id = ${owner.namespaceId} and tenant_id = ${owner.tenantId}`
}

function startingAfter(id: string | undefined): Statement {
  if (id === undefined) return sql``
  return sql`and (created_at, id) < (select created_at, id from lessor.api_keys where id = ${id})`
}
