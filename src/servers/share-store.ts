import { type Db, sql } from '../pool/statement.ts'

/** LiveShare is what a node that counts has been granted of a data server's connections. */
export interface LiveShare {
  readonly nodeId: string
  readonly budget: number
  readonly granted: number
  /** Whether the node has a watchdog. */
  readonly watches: boolean
}

/**
 * lockShares keeps all others from changing the shares of a data server until the transaction ends.
 * Statements after it see what they wrote; the lock does not get in the way of tenants' rows.
 */
export async function lockShares(tx: Db, server: string): Promise<void> {
  await tx.query(sql`select from lessor.servers where name = ${server} for no key update`)
}

/** readShares resolves with the shares of the nodes that have been heard within `silentMs`, the oldest node first. */
export async function readShares(tx: Db, server: string, silentMs: number): Promise<readonly LiveShare[]> {
  return tx.query<LiveShare>(sql`
    select s.node_id as "nodeId", s.budget, s.granted, s.watches
    from lessor.server_shares s join lessor.nodes n on n.id = s.node_id
    where s.server = ${server} and n.heartbeat_at > clock_timestamp() - ${silentMs} * interval '1 millisecond'
    order by n.started_at, n.id`)
}

export interface NewShare {
  readonly server: string
  readonly nodeId: string
  readonly budget: number
  readonly watches: boolean
}

/** enterShare makes the node's row in the shares, with nothing granted, or notes its new budget; false when it is there as it is. */
export async function enterShare(tx: Db, { budget, nodeId, server, watches }: NewShare): Promise<boolean> {
  const rows = await tx.query(sql`
    insert into lessor.server_shares as s (server, node_id, budget, granted, used, watches)
    values (${server}, ${nodeId}, ${budget}, 0, 0, ${watches})
    on conflict (server, node_id) do update set budget = excluded.budget where s.budget <> excluded.budget
    returning node_id`)
  return rows.length > 0
}

/** writeShare says what the node has been granted and has in use. */
export async function writeShare(
  tx: Db,
  share: {
    readonly server: string
    readonly nodeId: string
    readonly granted: number
    readonly used: number
  },
): Promise<void> {
  await tx.query(sql`
    update lessor.server_shares set granted = ${share.granted}, used = ${share.used}
    where server = ${share.server} and node_id = ${share.nodeId}`)
}
