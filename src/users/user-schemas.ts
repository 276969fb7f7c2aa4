import { type Static, Type } from 'typebox'
import { MAX_PAGE_SIZE, SEARCH_COLUMNS, SORT_COLUMNS, SORT_DIRECTIONS } from './user.ts'

const MAX_TEXT_LENGTH = 200
/** PostgreSQL cannot store U+0000, and half of a surrogate pair would turn into another character. */
const TEXT_PATTERN = '^[^\\p{Cc}\\p{Cs}]*$'
/** Keeps the offset a number that counts exactly. */
const MAX_PAGE = 2_147_483_647
/** Not `format: uuid`, which lets a URN pass as well. */
const UUID_PATTERN = '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
const COLUMN_PATTERN = `(${SEARCH_COLUMNS.join('|')})`

const Name = Type.String({
  minLength: 1,
  maxLength: MAX_TEXT_LENGTH,
  pattern: TEXT_PATTERN,
  description: 'Without control characters',
})
const Time = Type.String({ format: 'date-time', description: 'UTC, in milliseconds' })
const closed = { additionalProperties: false } as const

export const UserSchema = Type.Object({
  id: Type.String({ format: 'uuid' }),
  first_name: Type.String(),
  last_name: Type.String(),
  confirmed: Type.Boolean(),
  created_at: Time,
  updated_at: Time,
})
export type UserBody = Static<typeof UserSchema>

export const UserListSchema = Type.Object({
  records: Type.Array(UserSchema),
  page: Type.Integer(),
  page_size: Type.Integer(),
  total: Type.Integer({ description: 'Users that fit the filters, on all pages' }),
  total_pages: Type.Integer(),
})
export type UserListBody = Static<typeof UserListSchema>

export const NewUserSchema = Type.Object(
  { first_name: Name, last_name: Name, confirmed: Type.Boolean({ default: false }) },
  closed,
)

export const UserPatchSchema = Type.Object(
  {
    first_name: Type.Optional(Name),
    last_name: Type.Optional(Name),
    confirmed: Type.Optional(Type.Boolean()),
  },
  { ...closed, minProperties: 1 },
)

export const UserParams = Type.Object({ id: Type.String({ pattern: UUID_PATTERN }) }, closed)

export const NoQuery = Type.Object({}, closed)

export const UserListQuery = Type.Object(
  {
    search: Type.Optional(
      Type.String({
        maxLength: MAX_TEXT_LENGTH,
        pattern: TEXT_PATTERN,
        description: 'Text that is part of one of `search_columns`, in any case; no wildcards',
      }),
    ),
    search_columns: Type.Optional(
      Type.Array(Type.String({ pattern: `^${COLUMN_PATTERN}(,${COLUMN_PATTERN})*$` }), {
        minItems: 1,
        maxItems: 10,
        description: `Where to search: ${SEARCH_COLUMNS.join(', ')}; separated by commas or repeated. Both when absent.`,
      }),
    ),
    confirmed: Type.Optional(Type.Boolean()),
    date_after: Type.Optional(
      Type.String({ format: 'date-time', description: 'Created at this time or later (RFC 3339)' }),
    ),
    date_before: Type.Optional(
      Type.String({ format: 'date-time', description: 'Created before this time, not at it (RFC 3339)' }),
    ),
    sort_column: Type.Enum(SORT_COLUMNS, { default: 'created_at' }),
    sort_direction: Type.Enum(SORT_DIRECTIONS, { default: 'descending' }),
    page: Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: 1 }),
    page_size: Type.Integer({ minimum: 1, maximum: MAX_PAGE_SIZE, default: 10 }),
  },
  closed,
)
