import type { Rows } from './contract.ts'

/** Command tags of statements that leave a session as it was, whatever they say (PostgreSQL manual, CommandComplete). */
const HARMLESS = new Set([
  'SELECT',
  'INSERT',
  'UPDATE',
  'DELETE',
  'MERGE',
  'COPY',
  'SHOW',
  'EXPLAIN',
  'FETCH',
  'MOVE',
  'LOCK TABLE',
  'SAVEPOINT',
  'RELEASE',
  // Of a transaction, and of `rollback to savepoint`.
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
])

/**
 * leavesSessionState says whether a statement may have left something behind that the next tenant on
 * the same connection would find: a setting, a prepared statement, a subscription, a temporary table.
 */
export function leavesSessionState({ command }: Rows): boolean {
  return command === undefined || !HARMLESS.has(command)
}

/**
 * setsMode says whether a statement may have made its own transaction read only. What a function does
 * (`set_config`) leaves no trace.
 */
export function setsMode({ command }: Rows): boolean {
  return command === 'SET'
}
