import { Listener } from '../control/listener.ts'
import { errorCode } from '../pool/driver-errors.ts'
import { ident, sql } from '../pool/statement.ts'
import { asOwner, type Stage } from './probe-stage.ts'
import { refuses } from './probe-walls.ts'
import { isRefused, Unfit } from './unfit.ts'

const NOTIFY_MS = 3_000
/** program_limit_exceeded: what a COMMIT says to a notification while the server's one queue of them is full. */
const QUEUE_FULL = '54000'
const CONNECT_MS = 5_000

/** canPartition says whether rows find their partition by a list of values. */
export async function canPartition(stage: Stage): Promise<boolean> {
  const { name, first, second } = stage
  const table = `${name}.parts`
  return holds(() =>
    asOwner(stage, async (tx) => {
      await tx.script(`
        create table ${table} (tenant_id uuid not null, id integer not null, primary key (tenant_id, id))
          partition by list (tenant_id);
        create table ${table}_first partition of ${table} for values in ('${first.tenantId}');
        create table ${table}_rest partition of ${table} default;
        insert into ${table} (tenant_id, id) values ('${first.tenantId}', 1), ('${second.tenantId}', 1)`)
      const rows = await tx.query(sql`select from ${ident(name)}.parts_first`)
      if (rows.length !== 1) throw new Unfit('a row is not in its partition')
    }),
  )
}

/** locksByAdvice says whether two sessions contend for an advisory lock. */
export async function locksByAdvice({ admin, first }: Stage): Promise<boolean> {
  return holds(() =>
    admin.asLogin(first, async (one) => {
      await one.query(sql`select pg_advisory_lock(4711, 42)`)
      await admin.asLogin(first, async (two) => {
        const [row] = await two.query<{ taken: boolean }>(sql`select pg_try_advisory_lock(4711, 42) as taken`)
        if (row?.taken) throw new Unfit('two sessions have the same lock')
      })
    }),
  )
}

/** notifies says whether a notification reaches another session, or would if the queue were not full of others'. */
export async function notifies({ admin, address, name }: Stage): Promise<boolean> {
  const heard = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => heard.resolve(false), NOTIFY_MS)
  const listener = new Listener({
    address,
    connectTimeoutMs: CONNECT_MS,
    channels: { [name]: () => heard.resolve(true) },
    onListening: () => {
      admin
        .query(sql`select pg_notify(${name}, '')`)
        .catch((error: unknown) => heard.resolve(errorCode(error) === QUEUE_FULL))
    },
    onLost: () => heard.resolve(false),
  })
  listener.start()
  try {
    return await heard.promise
  } finally {
    clearTimeout(timer)
    await listener.stop()
  }
}

/** tablespaces are those in which the administrator may make tables. */
export async function tablespaces({ admin }: Pick<Stage, 'admin'>): Promise<readonly string[]> {
  const rows = await admin.query<{ name: string }>(sql`
    select spcname::text as name from pg_tablespace
    where spcname <> 'pg_global' and has_tablespace_privilege(oid, 'create') order by 1`)
  return rows.map(({ name }) => name)
}

/** separatesDatabases makes a database and sees that only who is let in gets in. @throws Unfit */
export async function separatesDatabases({ admin, name, first, second }: Stage): Promise<void> {
  await admin.script(`create database ${name}`)
  await admin.script(
    `revoke all on database ${name} from public; grant connect on database ${name} to ${first.user}`,
  )
  await admin.inDatabase(name, (db) => db.script('select 1'))
  const enter = (login: typeof first) =>
    admin.asLogin({ ...login, database: name }, (db) => db.script('select 1'))
  await enter(first)
  await refuses(() => enter(second), 'a login gets into a database that it may not connect to')
}

/** checksPasswords says whether a wrong password is refused: where it is not, pg_hba.conf trusts whoever comes. */
export async function checksPasswords({ admin, first, runtime }: Stage): Promise<boolean> {
  try {
    await admin.asLogin({ user: first.user, password: runtime.password }, (db) => db.script('select 1'))
    return false
  } catch (error) {
    if (isRefused(error)) return true
    throw error
  }
}

/** @throws what is neither an Unfit nor a refusal of the server's */
async function holds(attempt: () => Promise<void>): Promise<boolean> {
  try {
    await attempt()
    return true
  } catch (error) {
    if (error instanceof Unfit || isRefused(error)) return false
    throw error
  }
}
