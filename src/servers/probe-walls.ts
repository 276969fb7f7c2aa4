import { ident, type ScriptDb, sql } from '../pool/statement.ts'
import type { PlacementName } from '../tenants/tenant.ts'
import { spread } from './probe-engine.ts'
import { asOwner, type Stage } from './probe-stage.ts'
import { isRefused, Unfit } from './unfit.ts'

/** Check is one thing that must hold for the placements that it is for. */
export interface Check {
  readonly name: string
  readonly placements: readonly PlacementName[]
  /** @throws Unfit when it does not hold; what the server says when it refuses to go along */
  run(stage: Stage): Promise<void>
}

const ALL: readonly PlacementName[] = ['row', 'role', 'schema', 'database']
const SHARED: readonly PlacementName[] = ['row', 'role']
const INSUFFICIENT_PRIVILEGE = '42501'
/** As the login of `row` has it from its start-up packet (placement/citus.ts). */
const PROPAGATE = "set local citus.propagate_set_commands = 'local'"
const LOCK_NOT_AVAILABLE = '55P03'

/** WALL_CHECKS are tried in this order; later ones may need the rows of earlier ones. */
export const WALL_CHECKS: readonly Check[] = [
  {
    name: 'a tenant logs in by a verifier that the client has made, and writes its own rows',
    placements: ALL,
    run: async (stage) => {
      for (const login of [stage.first, stage.second]) {
        await stage.admin.asLogin(login, (db) => insert(db, stage, login.tenantId))
      }
    },
  },
  {
    name: 'row level security by the name of the role',
    placements: ['role'],
    run: (stage) =>
      stage.admin.asLogin(stage.first, async (db) => {
        await seesOwnRowOnly(db, stage)
        await refuses(() => insert(db, stage, stage.second.tenantId, 2), 'a tenant may write rows of another')
        await changesNoForeignRow(db, stage)
      }),
  },
  {
    name: 'row level security by a setting of the transaction',
    placements: ['row'],
    run: (stage) =>
      stage.admin.asLogin(stage.runtime, async (db) => {
        await seesNothing(db, stage, 'never set')
        await bound(db, stage, async (tx) => {
          await seesOwnRowOnly(tx, stage)
          await changesNoForeignRow(tx, stage)
        })
        await seesNothing(db, stage, 'set by an earlier transaction')
        await refuses(
          () => bound(db, stage, (tx) => insert(tx, stage, stage.second.tenantId, 2)),
          'a transaction bound to one tenant may write rows of another',
        )
      }),
  },
  {
    name: 'forced row level security binds the owner',
    placements: SHARED,
    run: (stage) =>
      asOwner(stage, async (tx) => {
        const rows = await tx.query<{ id: number }>(read(stage))
        if (rows.length > 0) throw new Unfit('FORCE ROW LEVEL SECURITY does not bind the owner of a table')
      }),
  },
  {
    name: 'nobody turns row level security off',
    placements: SHARED,
    run: async (stage) => {
      for (const login of [stage.first, stage.runtime]) {
        await stage.admin.asLogin(login, (db) =>
          refuses(async () => {
            await db.script('set row_security = off')
            await db.query(read(stage))
          }, 'a tenant may turn row level security off'),
        )
      }
    },
  },
  {
    name: 'no way out by SET ROLE or SET SESSION AUTHORIZATION',
    placements: ALL,
    run: async (stage) => {
      for (const login of [stage.first, stage.runtime]) {
        await stage.admin.asLogin(login, async (db) => {
          await refuses(
            () => db.script(`set role ${stage.owner}`),
            'SET ROLE makes a tenant the owner of tables',
          )
          await refuses(
            () => db.script(`set session authorization ${stage.owner}`),
            'SET SESSION AUTHORIZATION makes a tenant the owner of tables',
          )
        })
      }
    },
  },
  {
    name: 'grants keep one tenant out of the schema of another',
    placements: ['schema'],
    run: async (stage) => {
      const own = `${stage.name}.own_rows`
      await asOwner(stage, (tx) =>
        tx.script(`create table ${own} (id integer); grant select on ${own} to ${stage.first.user}`),
      )
      await stage.admin.asLogin(stage.first, (db) => db.script(`select from ${own}`))
      await stage.admin.asLogin(stage.second, (db) =>
        refuses(() => db.script(`select from ${own}`), 'a tenant may read a table that it has no grant on'),
      )
    },
  },
  {
    name: 'two sessions contend for a row',
    placements: ALL,
    // In a table of its own, without walls that might hide the row.
    run: async (stage) => {
      const table = `${stage.name}.locks`
      const lock = (wait: string) =>
        `select from ${table} where tenant_id = '${stage.first.tenantId}' for update${wait}`
      await asOwner(stage, async (tx) => {
        await tx.script(`create table ${table} (tenant_id uuid primary key)`)
        await spread(tx, stage.engine, table)
        await tx.script(`insert into ${table} values ('${stage.first.tenantId}')`)
      })
      await asOwner(stage, async (one) => {
        await one.script(lock(''))
        await refuses(
          () => asOwner(stage, (two) => two.script(lock(' nowait'))),
          'a row that one session has locked can be locked by another',
          LOCK_NOT_AVAILABLE,
        )
      })
    },
  },
]

/** refuses fails unless the server refuses, for this reason. */
export async function refuses(
  attempt: () => Promise<unknown>,
  otherwise: string,
  code: string = INSUFFICIENT_PRIVILEGE,
): Promise<void> {
  try {
    await attempt()
  } catch (error) {
    if (isRefused(error, code)) return
    throw error
  }
  throw new Unfit(otherwise)
}

function insert(db: ScriptDb, { table }: Stage, tenantId: string, id = 1): Promise<void> {
  return db.script(`insert into ${table} (tenant_id, id) values ('${tenantId}', ${id})`)
}

function read({ name }: Stage) {
  return sql`select tenant_id as "tenantId", id from ${ident(name)}.rows`
}

async function seesOwnRowOnly(db: ScriptDb, stage: Stage): Promise<void> {
  const rows = await db.query<{ tenantId: string }>(read(stage))
  if (rows.some(({ tenantId }) => tenantId !== stage.first.tenantId)) {
    throw new Unfit('row level security does not hide the rows of another tenant')
  }
  if (rows.length === 0) throw new Unfit('row level security hides the rows of the tenant itself')
}

async function changesNoForeignRow(db: ScriptDb, { name, second }: Stage): Promise<void> {
  const changed = await db.query(sql`
    update ${ident(name)}.rows set id = 3 where tenant_id = ${second.tenantId}::uuid returning id`)
  const deleted = await db.query(sql`
    delete from ${ident(name)}.rows where tenant_id = ${second.tenantId}::uuid returning id`)
  if (changed.length + deleted.length > 0) throw new Unfit('a tenant may change the rows of another')
}

/** Any refusal will do: an unset parameter and an empty one are refused differently. */
async function seesNothing(db: ScriptDb, stage: Stage, when: string): Promise<void> {
  let rows: readonly object[] = []
  try {
    rows = await db.query(read(stage))
  } catch (error) {
    if (isRefused(error)) return
    throw error
  }
  throw new Unfit(
    rows.length === 0
      ? `a session without a tenant is not refused (rls.tenant_id ${when})`
      : `a session without a tenant sees rows (rls.tenant_id ${when})`,
  )
}

function bound<T>(db: ScriptDb, { engine, first }: Stage, work: (tx: ScriptDb) => Promise<T>): Promise<T> {
  return db.transaction(async (tx) => {
    if (engine === 'citus') await tx.script(PROPAGATE)
    await tx.script(`set local rls.tenant_id = '${first.tenantId}'`)
    return work(tx)
  })
}
