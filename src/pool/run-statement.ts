import type { PendingQuery, Row, Sql } from 'postgres'
import { Identifier, type Param, Statement } from './statement.ts'

/**
 * runStatement hands a {@link Statement} to a postgres.js handle and returns its lazy query. The
 * template's own `strings` array is passed on, so that the driver's caches by identity work.
 */
export function runStatement(handle: Sql, statement: Statement): PendingQuery<Row[]> {
  const values = statement.values
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    // Fragments and identifiers are rare; without them the values go as they are.
    if (value instanceof Statement || value instanceof Identifier) {
      return handle(statement.strings, ...values.map((each) => toDriver(handle, each)))
    }
  }
  return handle(statement.strings, ...(values as never[]))
}

function toDriver(handle: Sql, value: Param | Identifier | Statement): never {
  if (value instanceof Statement) return runStatement(handle, value) as never
  if (value instanceof Identifier) return handle(value.name) as never
  return value as never
}
