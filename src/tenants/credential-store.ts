import { type Db, sql } from '../pool/statement.ts'
import { BLOCK } from './login-block-store.ts'
import type { Colour, LoginBlock, PlacementName, Quota, TenantStatus } from './tenant.ts'

export interface Credential {
  readonly tenantId: string
  readonly colour: Colour
  /** The sealed password. */
  readonly envelope: Uint8Array
  /** The vault key that sealed it. */
  readonly keyId: string
}

/** SealedLogin is all that is stored about how a tenant logs in. */
export interface SealedLogin {
  readonly tenantId: string
  readonly status: TenantStatus
  readonly placement: PlacementName
  readonly server: string
  readonly colour: Colour
  readonly quota: Quota
  readonly envelope: Uint8Array | null
  /** Of the login in use. */
  readonly block?: LoginBlock | null
}

/** saveCredential stores the login of one colour, in place of an older one. */
export async function saveCredential(db: Db, credential: Credential): Promise<void> {
  const { tenantId, colour, envelope, keyId } = credential
  await db.query(sql`
    insert into lessor.credentials (tenant_id, colour, envelope, key_id, generation)
    select id, ${colour}, ${envelope}, ${keyId}, generation from lessor.tenants where id = ${tenantId}
    on conflict (tenant_id, colour) do update
    set envelope = excluded.envelope, key_id = excluded.key_id, generation = excluded.generation,
        created_at = now()`)
}

/** findLogin reads a tenant's login of the colour in use, or of the one that is asked for. */
export async function findLogin(db: Db, tenantId: string, colour?: Colour): Promise<SealedLogin | undefined> {
  const wanted = colour === undefined ? sql`t.colour` : sql`${colour}::text`
  const [row] = await db.query<SealedLogin>(sql`
    select t.id as "tenantId", t.status, t.placement, t.server, ${wanted} as colour, t.quota, c.envelope, ${BLOCK} as block
    from lessor.tenants t
    left join lessor.credentials c on c.tenant_id = t.id and c.colour = ${wanted}
    where t.id = ${tenantId}`)
  return row
}

/** listCredentials pages through the logins of a data server's tenants, by tenant: all of the next `limit` after one. */
export async function listCredentials(
  db: Db,
  { after, limit, server }: { readonly server: string; readonly after: string; readonly limit: number },
): Promise<readonly { readonly tenantId: string; readonly colours: readonly Colour[] }[]> {
  return db.query(sql`
    select t.id as "tenantId", array_agg(c.colour) as colours
    from lessor.tenants t join lessor.credentials c on c.tenant_id = t.id
    where t.server = ${server} and t.id > ${after}::uuid
    group by t.id order by t.id limit ${limit}::integer`)
}

/** removeIdleCredential removes the login that is not in use. */
export async function removeIdleCredential(db: Db, tenantId: string): Promise<void> {
  await db.query(sql`
    delete from lessor.credentials c using lessor.tenants t
    where t.id = c.tenant_id and c.tenant_id = ${tenantId} and c.colour <> t.colour`)
}

/** removeCredentials removes the logins of both colours. */
export async function removeCredentials(db: Db, tenantId: string): Promise<void> {
  await db.query(sql`delete from lessor.credentials where tenant_id = ${tenantId}`)
}

/** sampleCredentials resolves with a few passwords that lie sealed with a vault key. */
export async function sampleCredentials(
  db: Db,
  keyId: string,
  limit: number,
): Promise<readonly Credential[]> {
  return db.query<Credential>(sql`
    select tenant_id as "tenantId", colour, envelope, key_id as "keyId" from lessor.credentials
    where key_id = ${keyId} limit ${limit}`)
}
