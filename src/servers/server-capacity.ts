import { type Db, sql } from '../pool/statement.ts'

/** ServerCapacity is what a data server has of connections, and who has them now. */
export interface ServerCapacity {
  readonly maxConnections: number
  /** Kept for superusers (`superuser_reserved_connections`). */
  readonly superuserReserved: number
  /** Kept for members of pg_use_reserved_connections; 0 before PostgreSQL 16, which has no such setting. */
  readonly reserved: number
  readonly sessions: {
    /** Of tenants of this database, and in databases of their own, through any process. */
    readonly tenants: number
    /** Of Lessor itself in this database: control database and administrators, through any process. */
    readonly service: number
    /** Of everybody else, in any database of the server. */
    readonly others: number
  }
}

/** What connections of Lessor call themselves: pool/open-connection.ts, servers/ and control/. */
const TENANT_NAME = 'lessor'
const SERVICE_NAME = 'lessor %'
/** A tenant's own database, in the placement `database`. */
const OWN_DATABASE = '^t_[0-9a-f]{32}$'

/**
 * readServerCapacity asks a data server for its limits and sessions. An administrator who may not
 * see others' sessions in full still counts them.
 * @throws what `db.query` throws
 */
export async function readServerCapacity(db: Db): Promise<ServerCapacity> {
  const [row] = await db.query<Omit<ServerCapacity, 'sessions'> & ServerCapacity['sessions']>(sql`
    select
      current_setting('max_connections')::integer as "maxConnections",
      current_setting('superuser_reserved_connections')::integer as "superuserReserved",
      coalesce(current_setting('reserved_connections', true)::integer, 0) as "reserved",
      count(*) filter (where own and application_name = ${TENANT_NAME})::integer as tenants,
      count(*) filter (where own and application_name like ${SERVICE_NAME})::integer as service,
      count(*) filter (
        where not (own and (application_name = ${TENANT_NAME} or application_name like ${SERVICE_NAME}))
      )::integer as others
    from (
      select datname is not distinct from current_database() or datname ~ ${OWN_DATABASE} as own, coalesce(application_name, '') as application_name
      from pg_stat_activity
      -- Whose rows may not be seen in full have a user, but no type.
      where coalesce(backend_type, 'client backend') = 'client backend' and usesysid is not null
    ) session`)
  if (row === undefined) throw new Error('bug: an aggregate without a group has one row')
  const { tenants, service, others, ...limits } = row
  return { ...limits, sessions: { tenants, service, others } }
}
