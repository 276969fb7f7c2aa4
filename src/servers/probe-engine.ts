import { type Db, type ScriptDb, sql } from '../pool/statement.ts'
import type { Engine } from './capabilities.ts'

/** detectEngine finds out what stands behind the protocol by what it offers. */
export async function detectEngine(admin: Db): Promise<Engine> {
  const [row] = await admin.query<{ distributes: boolean }>(sql`
    select to_regproc('create_distributed_table') is not null as distributes`)
  return row?.distributes ? 'citus' : 'postgresql'
}

/** spread lays a table of the probe out as the tables of the placements are, so that what is tried reaches all nodes. */
export async function spread(owner: ScriptDb, engine: Engine, table: string): Promise<void> {
  if (engine === 'citus')
    await owner.query(sql`select create_distributed_table(${table}::regclass, 'tenant_id')`)
}
