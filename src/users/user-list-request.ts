import type { Static } from 'typebox'
import { LessorError } from '../errors.ts'
import { SEARCH_COLUMNS, type UserListRequest } from './user.ts'
import type { UserListQuery } from './user-schemas.ts'

/**
 * userListRequest makes the store's request of a query string that fits the schema.
 * @throws LessorError INVALID_REQUEST for a time that no clock shows, such as one in the year 0
 */
export function userListRequest(query: Static<typeof UserListQuery>): UserListRequest {
  const columns = query.search_columns?.flatMap((list) => list.split(','))
  return {
    // Every text contains the empty one.
    search: query.search || null,
    searchColumns: SEARCH_COLUMNS.filter((column) => columns?.includes(column) ?? true),
    confirmed: query.confirmed ?? null,
    createdFrom: parseTime('date_after', query.date_after),
    createdBefore: parseTime('date_before', query.date_before),
    sortColumn: query.sort_column,
    sortDirection: query.sort_direction,
    page: query.page,
    pageSize: query.page_size,
  }
}

/** The schema's format lets a leap second pass, which Date cannot hold, and years that PostgreSQL does not have. */
function parseTime(name: string, text: string | undefined): Date | null {
  if (text === undefined) return null
  const time = new Date(text)
  const year = time.getUTCFullYear()
  if (year >= 1 && year <= 9999) return time
  const message = 'must be a time of the years 1 to 9999, in UTC'
  throw new LessorError('INVALID_REQUEST', `The query parameter ${name} ${message}.`, {
    errors: [{ in: 'query', path: name, message }],
  })
}
