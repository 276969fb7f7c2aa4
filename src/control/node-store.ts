import { type Db, sql } from '../pool/statement.ts'
import type { ControlDb } from './control-database.ts'
import type { OwnProcess } from './own-process.ts'

/** NODE_CHANNEL is where nodes announce that shares may have come free (NOTIFY); the payload is the node's id. */
export const NODE_CHANNEL = 'lessor_nodes'

/** NodeShare is what a node may have, and has, of a data server's connections. */
export interface NodeShare {
  readonly server: string
  readonly granted: number
  readonly used: number
}

/** NodeInfo is a live node as operators see it. */
export interface NodeInfo {
  readonly id: string
  readonly name: string
  readonly startedAt: Date
  readonly heartbeatAt: Date
  /** The version up to which all changes have done their work in the node. */
  readonly applied: bigint
  readonly shares: readonly NodeShare[]
}

/** setLimits bounds what a node that stops in the midst of a transaction can hold up. */
export async function setLimits(tx: Db, ms: number): Promise<void> {
  const text = String(Math.ceil(ms))
  await tx.query(sql`
    select set_config('statement_timeout', ${text}, true),
      set_config('idle_in_transaction_session_timeout', ${text}, true)`)
}

/** writeHeartbeat makes the node's row, or says in it that the node lives; `applied` counts only for a new row. */
export async function writeHeartbeat(
  tx: Db,
  node: { readonly id: string; readonly process: OwnProcess; readonly applied: bigint },
): Promise<void> {
  const { name, pid, space, started } = node.process
  await tx.query(sql`
    insert into lessor.nodes (id, name, pid, process_space, process_started, applied, reads_hash_keys)
    values (${node.id}, ${name}, ${pid}, ${space}, ${started}, ${node.applied}, true)
    on conflict (id) do update set heartbeat_at = clock_timestamp()`)
}

/** writeApplied says how far a node is. */
export async function writeApplied(db: Db, id: string, applied: bigint): Promise<void> {
  await db.query(sql`update lessor.nodes set applied = ${applied} where id = ${id}`)
}

/** removeNode removes a node's row and shares, and tells the others. */
export async function removeNode(db: ControlDb, id: string): Promise<void> {
  const gone = await db.query(sql`delete from lessor.nodes where id = ${id} returning id`)
  if (gone.length > 0) announceNode(db, id)
}

/** announceNode tells the others that a node's share is new, or has become smaller. */
export function announceNode(tx: Pick<ControlDb, 'announce'>, id: string): void {
  tx.announce(NODE_CHANNEL, id)
}

/** removeSilentNodes removes nodes that have been silent for so long. */
export async function removeSilentNodes(db: Db, silentMs: number): Promise<void> {
  await db.query(sql`
    delete from lessor.nodes where heartbeat_at < clock_timestamp() - ${silentMs} * interval '1 millisecond'`)
}

/** findNeighbours resolves with the nodes whose process ids mean the same as in this space. */
export async function findNeighbours(
  db: Db,
  space: string,
): Promise<readonly { readonly id: string; readonly pid: number; readonly started: string | null }[]> {
  return db.query(sql`
    select id, pid, process_started as started from lessor.nodes where process_space = ${space}`)
}

/** countBehind counts the live nodes that have not applied a version. */
export async function countBehind(db: Db, version: bigint, leaseMs: number): Promise<number> {
  const [row] = await db.query<{ count: number }>(sql`
    select count(*)::integer as count
    from lessor.nodes
    where applied < ${version} and heartbeat_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'`)
  return row?.count ?? 0
}

/** listNodes resolves with the live nodes, the oldest first. */
export async function listNodes(db: Db, leaseMs: number): Promise<readonly NodeInfo[]> {
  const rows = await db.query<Omit<NodeInfo, 'applied'> & { applied: string }>(sql`
    select n.id, n.name, n.applied, n.started_at as "startedAt", n.heartbeat_at as "heartbeatAt",
      coalesce(
        (select json_agg(json_build_object('server', server, 'granted', granted, 'used', used) order by server)
         from lessor.server_shares where node_id = n.id),
        '[]'
      ) as shares
    from lessor.nodes n
    where heartbeat_at > clock_timestamp() - ${leaseMs} * interval '1 millisecond'
    order by n.started_at, n.id`)
  return rows.map((row) => ({ ...row, applied: BigInt(row.applied) }))
}
