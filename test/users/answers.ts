import type { Test } from 'tap'
import type { TSchema } from 'typebox'
import Schema from 'typebox/schema'
import type { Problem } from '../../src/http/problem-schema.ts'
import { type UserBody, type UserListBody, UserListSchema, UserSchema } from '../../src/users/user-schemas.ts'
import { like } from '../support/like.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** Call sends one request for users as one tenant; `path` goes behind the route's own, such as `/<id>` or `?page=2`. */
export type Call = (
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
) => Promise<Answer>

/** NewTenant makes a tenant that has no users yet. */
export type NewTenant = (t: Test) => Promise<Call>

const NAMES = [
  ['Ada', 'Lovelace'],
  ['Alan', 'Turing'],
  ['Edsger', 'Dijkstra'],
  ['Grace', 'Hopper'],
  ['Barbara', 'Liskov'],
  ['Donald', 'Knuth'],
  ['Margaret', 'Hamilton'],
] as const

export const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** addUsers adds users whose times differ, so that their order is known. */
export async function addUsers(t: Test, call: Call, count: number): Promise<UserBody[]> {
  const users: UserBody[] = []
  while (users.length < count) {
    const [first_name, last_name] = NAMES[users.length % NAMES.length] ?? ['', '']
    const user = userIn(t, await call('POST', '', { first_name, last_name }))
    if (user.created_at === users.at(-1)?.created_at) await call('DELETE', `/${user.id}`)
    else users.push(user)
  }
  return users
}

/** list asks for a list and holds the answer against its schema. */
export async function list(t: Test, call: Call, query = ''): Promise<UserListBody> {
  const answer = await call('GET', query)
  t.equal(answer.status, 200, `GET ${query}`)
  t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  return parsed<UserListBody>(t, UserListSchema, answer)
}

/** userIn reads a user out of an answer. */
export function userIn(t: Test, answer: Answer): UserBody {
  const user = parsed<UserBody>(t, UserSchema, answer)
  like(t, user.created_at, TIME)
  like(t, user.updated_at, TIME)
  return user
}

/** Reads an answer and holds it against the schema that OpenAPI shows, with nothing beyond it. */
function parsed<T>(t: Test, schema: TSchema, answer: Answer): T {
  const value: unknown = JSON.parse(answer.text)
  const [fits, errors] = Schema.Errors(closed(schema), value)
  t.ok(fits, 'the answer fits its schema', { errors, text: answer.text })
  return value as T
}

function closed(schema: unknown): TSchema {
  return JSON.parse(JSON.stringify(schema), (_key, value) =>
    value?.type === 'object' ? { ...value, additionalProperties: false } : value,
  )
}

/** problem expects a refusal that names the field. */
export async function problem(
  t: Test,
  answer: Promise<Answer>,
  status: number,
  code: string,
  field?: { readonly in: string; readonly path: string },
): Promise<void> {
  const { status: actual, headers, text } = await answer
  t.equal(actual, status, text)
  t.match(headers['content-type'], /^application\/problem\+json/)
  const body: Problem = JSON.parse(text)
  like(t, body, { status, code, ...(field && { errors: [field] }) })
}
