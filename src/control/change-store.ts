import { type Db, sql } from '../pool/statement.ts'
import type { TenantStatus } from '../tenants/tenant.ts'
import type { ChangeKind, NewChange, ReadChange } from './changes.ts'
import type { ControlDb } from './control-database.ts'

/** CHANGE_CHANNEL is where a new change is announced (NOTIFY); the payload is its version. */
export const CHANGE_CHANNEL = 'lessor_changes'

/** ChangesSince is what was read of the log. */
export interface ChangesSince {
  /** The last version there is. */
  readonly latest: bigint
  /** In order of their versions, at most as many as asked for. */
  readonly changes: readonly ReadChange[]
}

/** insertChange gives out the next version, which counts when the transaction commits; then it is announced. */
export async function insertChange(
  tx: ControlDb,
  { kind, tenantId, keyId = null }: NewChange,
): Promise<bigint> {
  const [row] = await tx.query<{ version: string }>(sql`
    with next as (
      update lessor.change_counter set version = version + 1 returning version
    )
    insert into lessor.changes (version, kind, tenant_id, key_id)
    select version, ${kind}, ${tenantId}::uuid, ${keyId} from next
    returning version`)
  if (row === undefined) throw new Error('bug: the change counter has no row')
  tx.announce(CHANGE_CHANNEL, row.version)
  return BigInt(row.version)
}

interface Row {
  readonly latest: string
  readonly version: string | null
  readonly kind: ChangeKind
  readonly tenantId: string | null
  readonly keyId: string | null
  readonly status: TenantStatus | null
  readonly generation: number | null
}

/** readChanges resolves with what came after a version. One statement, and so one state of the log. */
export async function readChanges(db: Db, after: bigint, limit: number): Promise<ChangesSince> {
  const rows = await db.query<Row>(sql`
    select counter.version as latest, change.version, change.kind, change.tenant_id as "tenantId",
      change.key_id as "keyId", t.status, t.generation
    from lessor.change_counter counter
      left join lateral (
        select * from lessor.changes where version > ${after} order by version limit ${limit}
      ) change on true
      left join lessor.tenants t on t.id = change.tenant_id
    order by change.version`)
  const [first] = rows
  if (first === undefined) throw new Error('bug: the change counter has no row')
  return { latest: BigInt(first.latest), changes: rows.flatMap(toChange) }
}

function toChange({ latest, version, ...change }: Row): readonly ReadChange[] {
  return version === null ? [] : [{ ...change, version: BigInt(version) }]
}

/** trimChanges removes changes older than so long. What is left has no gaps. */
export async function trimChanges(db: Db, olderThanMs: number): Promise<void> {
  await db.query(sql`
    delete from lessor.changes
    where version <= (
      select max(version) from lessor.changes
      where created_at < now() - ${olderThanMs} * interval '1 millisecond'
    )`)
}
