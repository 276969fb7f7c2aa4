import { type Db, type Statement, sql } from '../pool/statement.ts'
import type { NewUser, SortColumn, SortDirection, UserChange, UserListRequest, UserPage } from './user.ts'

// Each function is one statement, and PostgreSQL itself writes the JSON that the API answers with:
// parsing rows here and serializing them again would cost more than the query. Every statement names
// the tenant; row level security stands beneath it. RECORD never stands in a RETURNING, where Citus takes
// immutable functions alone; the detour costs PostgreSQL 2 µs.

/** RECORD is a user as JSON text. Times are kept in milliseconds, and so none is cut off here. */
const RECORD = sql`
  format('{"id":"%s","first_name":%s,"last_name":%s,"confirmed":%s,"created_at":"%s","updated_at":"%s"}',
    id, to_json(first_name), to_json(last_name), confirmed::text,
    to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`

const ORDER: Readonly<Record<SortColumn, Readonly<Record<SortDirection, Statement>>>> = {
  created_at: { ascending: sql`created_at, id`, descending: sql`created_at desc, id desc` },
  updated_at: { ascending: sql`updated_at, id`, descending: sql`updated_at desc, id desc` },
  first_name: { ascending: sql`first_name, id`, descending: sql`first_name desc, id desc` },
  last_name: { ascending: sql`last_name, id`, descending: sql`last_name desc, id desc` },
}

interface JsonRow {
  readonly json: string
}

/** insertUser adds a user and resolves with its id and its JSON. */
export async function insertUser(
  db: Db,
  tenantId: string,
  user: NewUser,
): Promise<{ readonly id: string; readonly json: string }> {
  const [row] = await db.query<JsonRow & { id: string }>(sql`
    with added as (
      insert into users (tenant_id, first_name, last_name, confirmed)
      values (${tenantId}::uuid, ${user.firstName}, ${user.lastName}, ${user.confirmed})
      returning *
    )
    select id, ${RECORD} as json from added`)
  if (row === undefined) throw new Error('bug: an insert returned no row')
  return row
}

/** findUser resolves with a user's JSON; undefined when the tenant has no such user. */
export async function findUser(db: Db, tenantId: string, id: string): Promise<string | undefined> {
  const [row] = await db.query<JsonRow>(sql`
    select ${RECORD} as json from users where tenant_id = ${tenantId}::uuid and id = ${id}::uuid`)
  return row?.json
}

/** updateUser changes a user and resolves with its JSON; undefined when the tenant has no such user. */
export async function updateUser(
  db: Db,
  tenantId: string,
  id: string,
  change: UserChange,
): Promise<string | undefined> {
  const [row] = await db.query<JsonRow>(sql`
    with changed as (
      update users
      set first_name = coalesce(${change.firstName}, first_name),
          last_name = coalesce(${change.lastName}, last_name),
          confirmed = coalesce(${asText(change.confirmed)}::text::boolean, confirmed),
          updated_at = now()
      where tenant_id = ${tenantId}::uuid and id = ${id}::uuid
      returning *
    )
    select ${RECORD} as json from changed`)
  return row?.json
}

/** deleteUser deletes a user; false when the tenant has no such user. */
export async function deleteUser(db: Db, tenantId: string, id: string): Promise<boolean> {
  const rows = await db.query(sql`
    delete from users where tenant_id = ${tenantId}::uuid and id = ${id}::uuid returning 1`)
  return rows.length > 0
}

/** listUsers resolves with a page of the tenant's users; past the last page it has no records. */
export async function listUsers(db: Db, tenantId: string, request: UserListRequest): Promise<UserPage> {
  const [row] = await db.query<UserPage>(userListStatement(tenantId, request))
  if (row === undefined) throw new Error('bug: a list without its row')
  return row
}

/**
 * userListStatement makes the statement of {@link listUsers}: one of two texts for each order, since
 * every text is prepared, and kept, on each connection.
 */
export function userListStatement(tenantId: string, request: UserListRequest): Statement {
  const order = ORDER[request.sortColumn][request.sortDirection]
  return isFirstOfAll(request)
    ? firstPage(tenantId, order, request.pageSize)
    : filteredPage(filterOf(tenantId, request), order, request)
}

function isFirstOfAll({ page, search, confirmed, createdFrom, createdBefore }: UserListRequest): boolean {
  return page === 1 && search === null && confirmed === null && createdFrom === null && createdBefore === null
}

/**
 * The inner limit repeats MAX_PAGE_SIZE for the planner. It takes an unknown limit or offset for a
 * tenth of the rows, finds the plan for all values dearer than one for these, and then plans every
 * request anew, which takes longer than running it: 130 µs against 50 for ten users of 100
 * (PostgreSQL manual, PREPARE, "plan_cache_mode").
 */
function firstPage(tenantId: string, order: Statement, pageSize: number): Statement {
  return sql`
    select
      (select count(*)::integer from users where tenant_id = ${tenantId}::uuid) as total,
      coalesce((
        select string_agg(${RECORD}, ',')
        from (
          select * from (
            select * from users where tenant_id = ${tenantId}::uuid order by ${order} limit 100
          ) longest_page
          limit ${pageSize}::bigint
        ) page
      ), '') as records`
}

function filteredPage(filter: Statement, order: Statement, { page, pageSize }: UserListRequest): Statement {
  return sql`
    select
      (select count(*)::integer from users where ${filter}) as total,
      coalesce((
        select string_agg(${RECORD}, ',')
        from (
          select * from users where ${filter} order by ${order}
          limit ${pageSize}::bigint offset ${(page - 1) * pageSize}::bigint
        ) page
      ), '') as records`
}

/** Every filter stands in the text, whether used or not; strpos takes % and _ as they are. */
function filterOf(tenantId: string, request: UserListRequest): Statement {
  const firstName = request.searchColumns.includes('first_name') ? request.search : null
  const lastName = request.searchColumns.includes('last_name') ? request.search : null
  return sql`tenant_id = ${tenantId}::uuid
    and created_at >= coalesce(${asText(request.createdFrom)}::timestamptz, '-infinity')
    and created_at < coalesce(${asText(request.createdBefore)}::timestamptz, 'infinity')
    and confirmed = coalesce(${asText(request.confirmed)}::text::boolean, confirmed)
    and (coalesce(${firstName}::text, ${lastName}::text) is null
      or strpos(lower(first_name), lower(${firstName}::text)) > 0
      or strpos(lower(last_name), lower(${lastName}::text)) > 0)`
}

/**
 * The driver's statement cache tells a boolean or a Date from a null, so that one text would be
 * prepared once for each combination; a text and a null it takes for the same.
 */
function asText(value: boolean | Date | null): string | null {
  if (value === null) return null
  return value instanceof Date ? value.toISOString() : String(value)
}
