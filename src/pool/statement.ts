/**
 * Param is a value that travels as a bind parameter, never as SQL text. Objects are sent as JSON; arrays as arrays, of any depth
 * and with NULLs, or as JSON, by the type that the statement wants.
 */
export type Param =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | Uint8Array
  | readonly Param[]
  | { readonly [key: string]: unknown }

/** Identifier is a quoted SQL name; the driver escapes it. */
export class Identifier {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/**
 * Statement is SQL text with its parameters, not yet bound to any connection, so that the
 * dispatcher can choose the connection at the last moment. Made by {@link sql} only. A statement
 * inside another one is spliced in as a fragment.
 */
export class Statement {
  readonly strings: TemplateStringsArray
  readonly values: readonly (Param | Identifier | Statement)[]

  constructor(strings: TemplateStringsArray, values: readonly (Param | Identifier | Statement)[]) {
    this.strings = strings
    this.values = values
  }
}

/** sql makes a {@link Statement}: every `${value}` becomes a bind parameter, never text. */
export function sql(
  strings: TemplateStringsArray,
  ...values: readonly (Param | Identifier | Statement)[]
): Statement {
  return new Statement(strings, values)
}

/** ident quotes a table, column or role name for use inside {@link sql}. */
export function ident(name: string): Identifier {
  return new Identifier(name)
}

/**
 * Db runs statements for one unit of work. Routes and stores see only this: never a pool, never a
 * driver handle.
 */
export interface Db {
  /**
   * query runs one statement and resolves with its rows.
   * @throws the driver's PostgresError (with `code`, an SQLSTATE) when the server refuses it
   * @throws LessorError POOL_SATURATED, STATEMENT_TIMEOUT, CONNECTION_LOST, DATABASE_READ_ONLY, CLIENT_CLOSED_REQUEST
   */
  query<Row extends object = Record<string, unknown>>(statement: Statement): Promise<readonly Row[]>
  /**
   * transaction runs `fn` on one connection of its own between BEGIN and COMMIT; when `fn` throws,
   * it rolls back and rethrows.
   */
  transaction<T>(fn: (tx: Db) => Promise<T>): Promise<T>
}

/** ScriptDb is a Db of an administrator, which can also run SQL files. */
export interface ScriptDb extends Db {
  /**
   * script runs SQL text of several statements in one simple query (so in one implicit
   * transaction unless it has its own). For files and for text that the server itself quoted with
   * `format()`; never for text with a value in it.
   */
  script(text: string): Promise<void>
  transaction<T>(fn: (tx: ScriptDb) => Promise<T>): Promise<T>
}
