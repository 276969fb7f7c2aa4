import { isDeepStrictEqual } from 'node:util'
import { isLessorError } from '../../src/errors.ts'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { type Param, type Statement, sql } from '../../src/pool/statement.ts'
import type { Random } from './random.ts'
import type { FuzzTenant } from './tenant.ts'

/** Asking is who asks, and the number that no other question has. */
export interface Asking {
  readonly random: Random
  readonly tenant: FuzzTenant
  /** Another tenant, whose data is not to be had. */
  readonly stranger: FuzzTenant
  readonly nonce: number
}

/** Question is one statement, and what its own answer is. */
export interface Question {
  readonly statement: Statement
  /** Says what is wrong with rows; absent when the statement must fail. */
  readonly answer?: (rows: readonly object[]) => string | undefined
  /** Whether an error is this statement's own; absent when it must not fail. */
  readonly error?: (error: unknown) => boolean
}

/** wild makes a parameter of a value that no type allows. */
export function wild(value: unknown): Param {
  return value as Param
}

const texts = new Map<string, TemplateStringsArray>()

/** text makes a statement of text; the same text is the same template, as it is for code. */
export function text(statement: string): Statement {
  let strings = texts.get(statement)
  if (strings === undefined) {
    strings = Object.assign([statement], { raw: [statement] })
    texts.set(statement, strings)
  }
  return sql(strings)
}

/** mine is what a question has its tenant and its number answered by; reads `from markers m`. */
export function mine({ nonce }: Asking): Statement {
  return sql`${nonce}::int as nonce, m.marker, current_user::text as login, current_setting('rls.tenant_id') as tenant`
}

/** own is what an expected row has for all that `mine` selects. */
export function own({ nonce, tenant }: Asking): Record<string, unknown> {
  return { nonce, marker: tenant.marker, login: tenant.logins, tenant: tenant.id }
}

/** exactly holds the answer to these rows: values, names and order of columns, and how many rows. */
export function exactly(
  expected: readonly Record<string, unknown>[],
): (rows: readonly object[]) => string | undefined {
  return (rows) => {
    if (!Array.isArray(rows)) return `not rows: ${show(rows)}`
    if (rows.length !== expected.length)
      return `${rows.length} rows instead of ${expected.length}: ${show(rows.slice(0, 2))}`
    for (const [i, row] of expected.entries()) {
      const wrong = differs(rows[i], row)
      if (wrong !== undefined) return `row ${i}: ${wrong}`
    }
    return undefined
  }
}

/** many holds the answer to a number of rows that are all like `row(i)`. */
export function many(
  length: number,
  row: (i: number) => Record<string, unknown>,
): (rows: readonly object[]) => string | undefined {
  return (rows) => {
    if (!Array.isArray(rows)) return `not rows: ${show(rows)}`
    if (rows.length !== length) return `${rows.length} rows instead of ${length}: ${show(rows.slice(0, 2))}`
    for (let i = 0; i < length; i++) {
      const wrong = differs(rows[i], row(i))
      if (wrong !== undefined) return `row ${i}: ${wrong}`
    }
    return undefined
  }
}

/** differs says how a row is not what it was to be. `login` may be any of a list. */
export function differs(row: object | undefined, expected: Record<string, unknown>): string | undefined {
  if (row === undefined || row === null) return `there is no row, but a hole`
  const [names, wanted] = [Object.keys(row), Object.keys(expected)]
  if (names.length !== wanted.length || names.some((name, i) => name !== wanted[i]))
    return `columns ${show(names)} instead of ${show(wanted)}`
  const values = row as Record<string, unknown>
  for (const name of wanted) {
    const [value, right] = [values[name], expected[name]]
    if (name === 'login' ? Array.isArray(right) && right.includes(value) : isSame(value, right)) continue
    return `${name} is ${show(value)} instead of ${show(right)}`
  }
  return undefined
}

function isSame(value: unknown, right: unknown): boolean {
  if (value === right) return true
  if (right instanceof Uint8Array) return value instanceof Uint8Array && Buffer.compare(value, right) === 0
  return isDeepStrictEqual(value, right)
}

/** show writes a value for people, however long or odd it is. */
export function show(value: unknown, limit = 300): string {
  try {
    const written = JSON.stringify(value, (_, each: unknown) =>
      typeof each === 'bigint' || typeof each === 'symbol' ? String(each) : each,
    )
    return String(written).slice(0, limit)
  } catch (error) {
    return `something that cannot be shown (${String(error)})`
  }
}

/** sqlState is for errors of the server with one of these SQLSTATEs, and where given, with its own words in it. */
export function sqlState(states: readonly string[], words = ''): (error: unknown) => boolean {
  return (error) =>
    !isLessorError(error) &&
    states.includes(errorCode(error) ?? '') &&
    error instanceof Error &&
    error.message.includes(words)
}

/**
 * callers is for errors of whoever asked: a TypeError or one that is answered 4xx, or what the parameter itself has
 * thrown, which has the question's number in it. One that names a parameter must name this one.
 */
export function callers({ nonce }: Asking, place?: number): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof Error)) return false
    const named = /parameter \$(\d+)/i.exec(error.message)
    if (named !== null && place !== undefined && Number(named[1]) !== place) return false
    if (isLessorError(error)) return error.status < 500
    return error instanceof TypeError || error.message.includes(ownWords(nonce))
  }
}

/** refused is for statements that the engine does not send: its words name what it was. */
export function refused(words: RegExp): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof Error) || !words.test(error.message)) return false
    return isLessorError(error) ? error.status < 500 : errorCode(error) === undefined
  }
}

/** lessor is for the engine's own errors. */
export function lessor(...codes: readonly string[]): (error: unknown) => boolean {
  return (error) => isLessorError(error) && codes.includes(error.code)
}

/** either joins what may be a statement's own error. */
export function either(...kinds: readonly ((error: unknown) => boolean)[]): (error: unknown) => boolean {
  return (error) => kinds.some((kind) => kind(error))
}

/** ownWords is what a question's own error says. */
export function ownWords(nonce: number): string {
  return `own error ${nonce}`
}

/** codeOf names an error in the counts. */
export function codeOf(error: unknown): string {
  return errorCode(error) ?? (error instanceof Error ? error.name : typeof error)
}
