import type { TransactionCommand } from '../contract.ts'
import { beginReset, SESSION_RESET, SETTINGS_RESET } from '../session-reset.ts'
import type { QueryText } from './query.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NO_ARGUMENTS: readonly never[] = []

/** commandText is SQL text without parameters, sent as a simple query. */
export function commandText(text: string): QueryText {
  return { text, args: NO_ARGUMENTS, form: 'simple' }
}

const PLAIN: Readonly<Record<TransactionCommand, QueryText>> = {
  begin: commandText('begin'),
  commit: commandText('commit'),
  rollback: commandText('rollback'),
}

const BOUND: Readonly<Record<Exclude<TransactionCommand, 'begin'>, QueryText>> = {
  commit: commandText(`commit; ${SETTINGS_RESET}`),
  rollback: commandText(`rollback; ${SETTINGS_RESET}`),
}

/** RESET takes back what others may have left in a session that tenants share. */
export const RESET = commandText(SESSION_RESET)

/**
 * transactionText is what begins or ends a transaction; with `binding`, one that is bound to that tenant.
 * @throws TypeError when `binding` is no canonical UUID
 */
export function transactionText(command: TransactionCommand, binding: string | undefined): QueryText {
  if (binding === undefined) return PLAIN[command]
  return command === 'begin' ? commandText(`begin; ${bindTo(binding)}`) : BOUND[command]
}

/**
 * beginBound is the text that begins the transaction of one statement, bound to a tenant, with a reset in it.
 * @throws TypeError when `binding` is no canonical UUID
 */
export function beginBound(binding: string): QueryText {
  return commandText(beginReset(bindTo(binding)))
}

/** SET takes no parameters, and `set_config()` would not reach the workers of a Citus cluster: so the id is in the text. */
function bindTo(binding: string): string {
  if (!UUID.test(binding)) throw new TypeError('"binding" must be a UUID in lower case with hyphens')
  return `set local rls.tenant_id = '${binding}'`
}
