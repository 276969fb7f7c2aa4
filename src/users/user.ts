/** SEARCH_COLUMNS are the columns that a list can be searched in. */
export const SEARCH_COLUMNS = ['first_name', 'last_name'] as const
export type SearchColumn = (typeof SEARCH_COLUMNS)[number]

/** SORT_COLUMNS are the columns that a list can be sorted by; equal values are sorted by id. */
export const SORT_COLUMNS = ['created_at', 'updated_at', 'first_name', 'last_name'] as const
export type SortColumn = (typeof SORT_COLUMNS)[number]

export const SORT_DIRECTIONS = ['ascending', 'descending'] as const
export type SortDirection = (typeof SORT_DIRECTIONS)[number]

/** MAX_PAGE_SIZE is the most users that one list answers with. */
export const MAX_PAGE_SIZE = 100

export interface NewUser {
  readonly firstName: string
  readonly lastName: string
  readonly confirmed: boolean
}

/** UserChange holds the fields that change; null leaves a field as it is. */
export interface UserChange {
  readonly firstName: string | null
  readonly lastName: string | null
  readonly confirmed: boolean | null
}

/** UserListRequest is one page of a list; null does not filter. */
export interface UserListRequest {
  /** Text that is part of a searched column, in any case; no character in it has a special meaning. */
  readonly search: string | null
  readonly searchColumns: readonly SearchColumn[]
  readonly confirmed: boolean | null
  /** Created at this time or later. */
  readonly createdFrom: Date | null
  /** Created before this time, and not at it. */
  readonly createdBefore: Date | null
  readonly sortColumn: SortColumn
  readonly sortDirection: SortDirection
  /** Counts from 1. */
  readonly page: number
  /** At most {@link MAX_PAGE_SIZE}. */
  readonly pageSize: number
}

/** UserPage is one page of a list, the records as the JSON text of an array's elements. */
export interface UserPage {
  readonly records: string
  /** Users that fit the filters, on all pages. */
  readonly total: number
}
