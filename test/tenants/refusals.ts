import type { ScriptDb } from '../../src/pool/statement.ts'
import { sql } from '../../src/pool/statement.ts'
import type { House } from './house.ts'

/** Refusal is a write that the control database refuses. */
export interface Refusal {
  readonly table: string
  readonly verb: 'insert' | 'update' | 'delete'
  /** Of which rows; of all, without it. */
  readonly when?: string
}

/** NO_ROOM is the code that refused writes fail with (disk_full): no later try of the same work helps. */
export const NO_ROOM = '53100'

/** entering is the refusal of the note that a job enters a step. */
export function entering(step: string): Refusal {
  return { table: 'jobs', verb: 'update', when: `new.step = '${step}' and old.step <> '${step}'` }
}

/** refuse makes the control database refuse a write, as a full disk would, and resolves with what ends that. */
export async function refuse(
  db: Pick<ScriptDb, 'script'>,
  { table, verb, when = 'true' }: Refusal,
): Promise<() => Promise<void>> {
  await db.script(`
    create or replace function lessor.refuse() returns trigger language plpgsql as
      $$ begin raise exception 'no room' using errcode = 'disk_full'; end $$;
    create trigger refuse before ${verb} on lessor.${table}
      for each row when (${when}) execute function lessor.refuse()`)
  return () => db.script(`drop trigger refuse on lessor.${table}`)
}

/** textOf names a refusal. */
export function textOf({ table, verb, when }: Refusal): string {
  return `${verb} ${table}${when === undefined ? '' : ` when ${when}`}`
}

/** leftBehind resolves when an attempt at the tenant's job has failed and the job is left to recovery. */
export async function leftBehind({ tenants }: Pick<House, 'tenants'>, id: string): Promise<void> {
  while (typeof (await tenants.get(id)).job?.error !== 'string') await new Promise(setImmediate)
}

/** hurry lets the next recovery take the tenant's job, and resolves with how many it took. */
export async function hurry({ db, tenants }: Pick<House, 'db' | 'tenants'>, id: string): Promise<number> {
  await db.query(sql`
    update lessor.jobs set claimed_until = now() - interval '1 second' where tenant_id = ${id}::uuid`)
  return tenants.recover()
}
