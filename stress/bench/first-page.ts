import type { UserListRequest } from '../../src/users/user.ts'

/** firstPage is what `GET /v1/users?page_size=…` asks the store for: every side of the benchmark runs this. */
export function firstPage(pageSize: number): UserListRequest {
  return {
    search: null,
    searchColumns: [],
    confirmed: null,
    createdFrom: null,
    createdBefore: null,
    sortColumn: 'created_at',
    sortDirection: 'descending',
    page: 1,
    pageSize,
  }
}
