import { errorCode } from '../pool/driver-errors.ts'

/** What a session gets when another one changes the same role, grant or table at that moment. */
const CLASHES = new Set([
  '23505', // unique_violation, on a catalog's index
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '42704', // undefined_object: the other one dropped it
  '42710', // duplicate_object: the other one created it
  '42P04', // duplicate_database
  '42P06', // duplicate_schema
  '42P07', // duplicate_table
  '53200', // out_of_memory: no room for its locks, which the administrator's connection has made by now
  'XX000', // internal_error: "tuple concurrently updated"
])
const ATTEMPTS = 5

/**
 * afterClashes runs work that looks at the catalog and changes what is missing, again when another
 * session was changing the same. PostgreSQL's DDL on roles and grants has no IF NOT EXISTS and
 * reports such a clash instead of waiting. The work must be idempotent.
 * @throws what the last of a few attempts threw
 */
export async function afterClashes<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (attempt === ATTEMPTS || !CLASHES.has(errorCode(error) ?? '')) throw error
    }
  }
}
