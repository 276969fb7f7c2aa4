import { RootCertificates } from '../pool/root-certificates.ts'
import { type Db, sql } from '../pool/statement.ts'
import type { Capabilities } from './capabilities.ts'
import type { DataServer, Labels, ServerAddress } from './data-server.ts'

/** CREDENTIAL_PURPOSES is what the service itself logs in to a data server for. */
export const CREDENTIAL_PURPOSES = ['admin', 'row'] as const
export type CredentialPurpose = (typeof CREDENTIAL_PURPOSES)[number]

/** SealedCredential is one of the service's own logins to a data server. */
export interface SealedCredential {
  readonly purpose: CredentialPurpose
  readonly login: string
  /** The sealed password. */
  readonly envelope: Uint8Array
  /** The vault key that sealed it. */
  readonly keyId: string
}

const COLUMNS = sql`
  name, host, port, alternates, database, tls, root_certificates as "roots", labels, max_connections as "maxConnections",
  capabilities, probed_at as "probedAt", mark, generation, created_at as "createdAt", updated_at as "updatedAt"`

/** Row is a data server as it is stored. */
type Row = Omit<DataServer, 'rootCertificates'> & { readonly roots: string | null }

/** A jsonb parameter that is an array would be sent as an array of SQL. */
function alternatesOf({ alternates = [] }: Pick<ServerAddress, 'alternates'>): string {
  return JSON.stringify(alternates)
}

/** saveServer makes or updates a data server's address; a row that says the same stays untouched. */
export async function saveServer(db: Db, server: ServerAddress): Promise<void> {
  const { name, host, port, database, tls, rootCertificates } = server
  await db.query(sql`
    insert into lessor.servers as s (name, host, port, alternates, database, tls, root_certificates)
    values (${name}, ${host}, ${port}, ${alternatesOf(server)}::text::jsonb, ${database}, ${tls},
      ${rootCertificates?.text ?? null})
    on conflict (name) do update
    set host = excluded.host, port = excluded.port, alternates = excluded.alternates,
        database = excluded.database, tls = excluded.tls, root_certificates = excluded.root_certificates,
        updated_at = now()
    where (s.host, s.port, s.alternates, s.database, s.tls, s.root_certificates)
      is distinct from (excluded.host, excluded.port, excluded.alternates, excluded.database, excluded.tls,
        excluded.root_certificates)`)
}

/** NewServer is a data server that is about to be registered. */
export interface NewServer extends ServerAddress {
  readonly labels: Labels
  readonly maxConnections: number | null
  readonly capabilities: Capabilities
  /** The mark in its database. */
  readonly mark: string
}

/** insertServer registers a data server; false when the name is taken, or another one has the mark. */
export async function insertServer(db: Db, server: NewServer): Promise<boolean> {
  const { name, host, port, database, tls, rootCertificates, labels, maxConnections, capabilities, mark } =
    server
  const rows = await db.query(sql`
    insert into lessor.servers (name, host, port, alternates, database, tls, root_certificates, labels,
      max_connections, capabilities, probed_at, mark)
    values (${name}, ${host}, ${port}, ${alternatesOf(server)}::text::jsonb, ${database}, ${tls},
      ${rootCertificates?.text ?? null}, ${{ ...labels }}, ${maxConnections}, ${{ ...capabilities }}, now(), ${mark})
    on conflict do nothing
    returning name`)
  return rows.length > 0
}

/** ServerChange is what of a data server changes; what is undefined stays. */
export interface ServerChange {
  readonly labels?: Labels
  readonly maxConnections?: number | null
  /** A new way to the same server. */
  readonly address?: Omit<ServerAddress, 'name'>
}

/** changeServer changes a data server; false when there is none of this name. */
export async function changeServer(db: Db, name: string, change: ServerChange): Promise<boolean> {
  const { labels, maxConnections, address } = change
  const rows = await db.query(sql`
    update lessor.servers
    set updated_at = now()
      ${labels === undefined ? sql`` : sql`, labels = ${{ ...labels }}`}
      ${maxConnections === undefined ? sql`` : sql`, max_connections = ${maxConnections}`}
      ${
        address === undefined
          ? sql``
          : sql`, host = ${address.host}, port = ${address.port},
              alternates = ${alternatesOf(address)}::text::jsonb, database = ${address.database},
              tls = ${address.tls}, root_certificates = ${address.rootCertificates?.text ?? null},
              generation = generation + 1`
      }
    where name = ${name}
    returning name`)
  return rows.length > 0
}

/** saveMark stores the mark of a data server's database unless there is one, and resolves with the one there is. */
export async function saveMark(db: Db, name: string, mark: string): Promise<string | undefined> {
  const [row] = await db.query<{ mark: string }>(sql`
    update lessor.servers set mark = coalesce(mark, ${mark}) where name = ${name} returning mark`)
  return row?.mark
}

/** findMarked names the data server whose database has a mark. */
export async function findMarked(db: Db, mark: string): Promise<string | undefined> {
  const [row] = await db.query<{ name: string }>(sql`select name from lessor.servers where mark = ${mark}`)
  return row?.name
}

/** OwnMarks is what a control database knows of itself. */
export interface OwnMarks {
  /** Its own id. */
  readonly installation: string
  /** What its database was marked with as the data server of the name; null before that. */
  readonly mark: string | null
}

/** readOwnMarks resolves with nothing where the database has no control plane, or one of a version without marks. */
export async function readOwnMarks(db: Db, server: string): Promise<OwnMarks | undefined> {
  const present = await db.query(sql`
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'lessor' and c.relname = 'installation'`)
  if (present.length === 0) return undefined
  const [row] = await db.query<OwnMarks>(sql`
    select i.id as installation, s.mark
    from lessor.installation i left join lessor.servers s on s.name = ${server}`)
  return row
}

/** saveCapabilities stores what a probe found. */
export async function saveCapabilities(db: Db, name: string, capabilities: Capabilities): Promise<void> {
  await db.query(sql`
    update lessor.servers set capabilities = ${{ ...capabilities }}, probed_at = now() where name = ${name}`)
}

/** listServers resolves with all data servers by name. */
export async function listServers(db: Db): Promise<readonly DataServer[]> {
  const rows = await db.query<Row>(sql`select ${COLUMNS} from lessor.servers order by name collate "C"`)
  return rows.map(({ roots, ...server }) => ({
    ...server,
    ...(roots !== null && { rootCertificates: RootCertificates.stored(roots) }),
  }))
}

/** ServerLoad is how many tenants a data server has that live. */
export interface ServerLoad {
  readonly server: string
  readonly tenants: number
}

/** readLoads counts the living tenants of the data servers; one without any is left out. */
export async function readLoads(db: Db): Promise<readonly ServerLoad[]> {
  return db.query<ServerLoad>(sql`
    select server, sum(tenants)::integer as tenants from lessor.tenant_counts
    where status <> 'deleted' group by server having sum(tenants) <> 0`)
}

/** findCredential reads a login of the service's own. */
export async function findCredential(
  db: Db,
  server: string,
  purpose: CredentialPurpose,
): Promise<SealedCredential | undefined> {
  const [row] = await db.query<SealedCredential>(sql`
    select purpose, login, envelope, key_id as "keyId" from lessor.server_credentials
    where server = ${server} and purpose = ${purpose}`)
  return row
}

/** offerCredential stores a login unless there is one, so that of several starters the first one's counts. */
export async function offerCredential(db: Db, server: string, credential: SealedCredential): Promise<void> {
  const { purpose, login, envelope, keyId } = credential
  await db.query(sql`
    insert into lessor.server_credentials (server, purpose, login, envelope, key_id)
    values (${server}, ${purpose}, ${login}, ${envelope}, ${keyId})
    on conflict (server, purpose) do nothing`)
}

/** saveCredential stores a login in place of an older one. */
export async function saveCredential(db: Db, server: string, credential: SealedCredential): Promise<void> {
  const { purpose, login, envelope, keyId } = credential
  await db.query(sql`
    insert into lessor.server_credentials (server, purpose, login, envelope, key_id)
    values (${server}, ${purpose}, ${login}, ${envelope}, ${keyId})
    on conflict (server, purpose) do update
    set login = excluded.login, envelope = excluded.envelope, key_id = excluded.key_id, created_at = now()`)
}

/** sampleServerCredentials resolves with a few logins that lie sealed with a vault key. */
export async function sampleServerCredentials(
  db: Db,
  keyId: string,
  limit: number,
): Promise<readonly (SealedCredential & { readonly server: string })[]> {
  return db.query(sql`
    select server, purpose, login, envelope, key_id as "keyId" from lessor.server_credentials
    where key_id = ${keyId} limit ${limit}`)
}
