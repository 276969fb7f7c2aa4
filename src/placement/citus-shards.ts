import { LessorError } from '../errors.ts'
import { type Db, type ScriptDb, sql } from '../pool/statement.ts'
import { isCitus, runLong } from './citus.ts'

/** TenantShard is where the rows of a tenant in one distributed table lie. */
export interface TenantShard {
  readonly table: string
  readonly shard: string
  /** `host:port` of the server that has it, as the coordinator reaches it. */
  readonly node: string
  /** Whether no other tenant's rows lie there, but for one whose id has the same 32-bit hash. */
  readonly isOwn: boolean
}

/** tenantShards says where the rows of a tenant lie, for each distributed table of schema app; nothing where none is. */
export async function tenantShards(admin: Db, tenantId: string): Promise<readonly TenantShard[]> {
  if (!(await isCitus(admin))) return []
  return admin.query<TenantShard>(sql`
    select c.oid::regclass::text as "table", s.shardid::text as shard,
      format('%s:%s', n.nodename, n.nodeport) as node, s.shardminvalue = s.shardmaxvalue as "isOwn"
    from pg_class c
    join pg_dist_shard s on s.logicalrelid = c.oid
      and s.shardid = get_shard_id_for_distribution_column(c.oid, ${tenantId}::uuid)
    join pg_dist_placement p on p.shardid = s.shardid
    join pg_dist_node n on n.groupid = p.groupid and n.noderole = 'primary'
    where c.relnamespace = to_regnamespace('app')
    order by c.relname`)
}

/**
 * isolateTenant gives a tenant shards of its own, one for each table, which can then be moved to another server,
 * and resolves with them. They stay where they are. Reading goes on meanwhile; writing, of all tenants in the
 * shard that is split, waits: the other way works by replication as the tables' owner, who cannot log in. Can be
 * run again. There is no way back: Citus does not merge shards.
 * @throws LessorError PLACEMENT_UNAVAILABLE where no table is distributed
 */
export async function isolateTenant(admin: ScriptDb, tenantId: string): Promise<readonly TenantShard[]> {
  for (;;) {
    const shards = await tenantShards(admin, tenantId)
    if (shards.length === 0) {
      throw new LessorError('PLACEMENT_UNAVAILABLE', 'The data server distributes no table of tenants.')
    }
    const common = shards.find((shard) => !shard.isOwn)
    if (common === undefined) return shards
    // With it go all tables that are distributed alike.
    await admin.transaction((tx) =>
      runLong(
        tx,
        sql`select format(
          'select isolate_tenant_to_new_shard(%L, %L::uuid, ''CASCADE'', shard_transfer_mode => ''block_writes'')',
          ${common.table}::text, ${tenantId}::text) as script`,
      ),
    )
  }
}
