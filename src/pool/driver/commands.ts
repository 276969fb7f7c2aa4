import type { TransactionCommand } from '../contract.ts'
import type { QueryText } from './query.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NO_ARGUMENTS: readonly never[] = []

/** commandText is SQL text without parameters, sent as a simple query. */
export function commandText(text: string): QueryText {
  return { text, args: NO_ARGUMENTS, isSimple: true }
}

const PLAIN: Readonly<Record<TransactionCommand, QueryText>> = {
  begin: commandText('begin'),
  commit: commandText('commit'),
  rollback: commandText('rollback'),
}

/**
 * transactionText is what begins or ends a transaction; with `binding`, one that is bound to that tenant.
 * @throws TypeError when `binding` is no canonical UUID
 */
export function transactionText(command: TransactionCommand, binding: string | undefined): QueryText {
  return command === 'begin' && binding !== undefined ? commandText(beginBound(binding)) : PLAIN[command]
}

/**
 * beginBound is the text that opens a transaction bound to a tenant. SET takes no parameters, and
 * `set_config()` would not reach the workers of a Citus cluster, so the id stands in the text.
 * @throws TypeError when it is no canonical UUID
 */
export function beginBound(binding: string): string {
  if (!UUID.test(binding)) throw new TypeError('"binding" must be a UUID in lower case with hyphens')
  return `begin; set local rls.tenant_id = '${binding}'`
}
