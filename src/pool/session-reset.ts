/**
 * SESSION_RESET takes back what earlier statements may have left in a session without a trace in their command tags,
 * as a function does by `set_config(…, false)`, and CREATE TABLE AS, whose tag is that of SELECT: settings, the role,
 * cursors with hold, subscriptions, temporary tables, the last values of sequences. It is DISCARD ALL without
 * DEALLOCATE ALL and DISCARD PLANS, which would take the driver's own prepared statements, and without
 * `pg_advisory_unlock_all()`, which costs as much as all the others together. docs/sql.md says what stays.
 *
 * By itself, as a simple query, it is one transaction: all of it is done, or an error says that it is not. The
 * settings go back to those of the start-up packet, `search_path` and TimeZone among them.
 */
export const SESSION_RESET = 'reset all; reset role; close all; unlisten *; discard temp; discard sequences'

/**
 * SETTINGS_RESET follows the end of each transaction in the same message: what it has set for the session, also
 * `default_transaction_read_only`, by which the next BEGIN would go. Where a COMMIT fails, it is not reached, and what
 * was set is taken back by that; where a time limit or a cancel request meets it, the connection is given up, and
 * what stands behind it on the wire has its own reset.
 */
export const SETTINGS_RESET = 'reset all'

/**
 * beginReset is the text that begins a transaction in which `bind` holds and of what was before nothing does. The reset
 * is within the transaction: where it fails, the transaction is aborted and refuses what was sent behind it, and
 * where the transaction is rolled back, the next one begins with a reset as well.
 *
 * It takes a snapshot, so SET TRANSACTION ISOLATION LEVEL is refused behind it. A transaction of several statements has
 * SESSION_RESET sent before its BEGIN instead, and waits for both.
 */
export function beginReset(bind: string): string {
  return `begin; ${SESSION_RESET}; ${bind}`
}
