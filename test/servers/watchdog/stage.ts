import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../../src/clock.ts'
import { type DatabaseAddress, parseDatabaseUrl } from '../../../src/control/database-url.ts'
import { Lane } from '../../../src/control/lane.ts'
import { PostgresDatabase } from '../../../src/control/postgres-database.ts'
import { loginName } from '../../../src/placement/tenant-names.ts'
import { isCrowded } from '../../../src/pool/driver-errors.ts'
import { sql } from '../../../src/pool/statement.ts'
import { Secret } from '../../../src/secret.ts'
import { ServerAdmin } from '../../../src/servers/server-admin.ts'
import type { Ending, WatchLimits } from '../../../src/servers/watchdog/policy.ts'
import {
  type BlockedLogins,
  type Offender,
  ServerWatch,
  type ServerWatchOptions,
} from '../../../src/servers/watchdog/server-watch.ts'
import { OwnServer } from '../../faults/own-server.ts'

/** PASSWORD is that of every role that these tests make. */
export const PASSWORD = 'of-the-test'

export interface Scope {
  teardown(fn: () => unknown): void
}

/** LAX are limits that nothing in these tests runs into; each test tightens one. */
export const LAX: WatchLimits = {
  lockPart: 1,
  blockingMs: 3_600_000,
  requestMs: 3_600_000,
  transactionMs: 3_600_000,
  sessionPart: 0,
  poolSessions: 4,
  nodes: 1,
}

/** Attacker is one session that does as it likes. */
export interface Attacker {
  readonly pid: number
  /** Runs SQL text; a transaction that it begins stays open. */
  run(text: string): Promise<void>
  /** Begins to run it; its end does not matter. */
  begin(text: string): void
  isAlive(): Promise<boolean>
}

/** openStage makes a server of a file's own; what `inTest` makes is gone after the test. */
export async function openStage(
  t: Scope,
  {
    settings,
    ...options
  }: {
    readonly maxConnections?: number
    /** What needs a restart; a server that the environment names has it. */
    readonly settings?: Readonly<Record<string, number | string>>
  } = {},
) {
  const url = process.env.WATCHED_DATABASE_URL ?? (await startServer(t, options, settings))
  const address = parseDatabaseUrl(url)
  const admin = new ServerAdmin({ address, maxConnections: 2 })
  t.teardown(() => admin.close())

  async function isAlive(pid: number): Promise<boolean> {
    return (await admin.query(sql`select from pg_stat_activity where pid = ${pid}::integer`)).length > 0
  }

  async function open(t: Scope, at: DatabaseAddress): Promise<Attacker> {
    const db = new PostgresDatabase({
      address: at,
      applicationName: 'test',
      maxConnections: 1,
      connectTimeoutMs: 10_000,
      statementTimeoutMs: 0,
      idleMs: 600_000,
      closeTimeoutMs: 100,
      unavailable: 'SERVER_UNAVAILABLE',
    })
    t.teardown(() => db.close())
    const [row] = await db.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    const pid = row?.pid ?? 0
    return {
      pid,
      run: (text) => db.script(text),
      begin: (text) => void db.script(text).catch(() => {}),
      isAlive: () => isAlive(pid),
    }
  }

  const inTest = (t: Scope) => ({
    admin,

    /** Makes a tenant's login, or a role of another name. */
    async login(name = loginName(randomUUID(), 'blue')): Promise<string> {
      await admin.script(`create role ${name} login password '${PASSWORD}'`)
      t.teardown(async () => {
        const rest = new ServerAdmin({ address })
        await rest.query(
          sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = ${name}`,
        )
        await rest.script(`drop owned by ${name}; drop role ${name}`)
        await rest.close()
      })
      return name
    },

    /** Makes a table that all may write, as tenants share them. */
    async sharedTable(): Promise<string> {
      const name = `shared_${randomUUID().slice(0, 8)}`
      await admin.script(`create table ${name} (id integer primary key, tenant text);
        grant all on ${name} to public`)
      t.teardown(async () => {
        const rest = new ServerAdmin({ address })
        await rest.script(`drop table ${name}`)
        await rest.close()
      })
      return name
    },

    /** Opens a session of a login. */
    session: (login: string, database?: string) => open(t, sessionAddress(address, login, database)),

    /** Opens a session of the superuser, which ends nothing that is in its way. */
    operator: () => open(t, address),

    /** Opens a session without waiting for a place; undefined when there is none. */
    async squeezeIn(login: string): Promise<Attacker | undefined> {
      const target = { ...sessionAddress(address, login), server: 'test', parameters: {} }
      try {
        const lane = await Lane.open(target, { connectTimeoutMs: 10_000, patienceMs: undefined })
        t.teardown(() => lane.close())
        return {
          pid: lane.pid,
          run: (text) => lane.script(text),
          begin: (text) => void lane.script(text).catch(() => {}),
          isAlive: () => isAlive(lane.pid),
        }
      } catch (error) {
        if (isCrowded(error)) return undefined
        throw error
      }
    },

    /** Resolves when a session waits for a lock. */
    async untilWaits({ pid }: Pick<Attacker, 'pid'>): Promise<void> {
      for (;;) {
        const [row] = await admin.query(sql`
          select from pg_locks where pid = ${pid}::integer and not granted and waitstart is not null`)
        if (row !== undefined) return
        await sleep(5)
      }
    },

    watch: (limits: Partial<WatchLimits>, others: Partial<ServerWatchOptions> = {}) =>
      openWatch(t, address, { ...LAX, ...limits }, others),
  })

  return { url, address, admin, inTest }
}

async function startServer(
  t: Scope,
  options: { readonly maxConnections?: number },
  settings: Readonly<Record<string, number | string>> = {},
): Promise<string> {
  const server = await OwnServer.start(t, options)
  if (Object.keys(settings).length > 0) await server.configure(settings)
  return server.url
}

/** sessionAddress is where one of the roles that these tests make logs in. */
export function sessionAddress(address: DatabaseAddress, user: string, database?: string): DatabaseAddress {
  return { ...address, user, password: new Secret(PASSWORD), ...(database !== undefined && { database }) }
}

/** openWatch makes a watch that remembers what it did, and blocked logins in memory. */
export function openWatch(
  t: Scope,
  address: DatabaseAddress,
  limits: WatchLimits,
  others: Partial<ServerWatchOptions> = {},
) {
  const ended: Ending[] = []
  const blocked: Offender[] = []
  const errors: unknown[] = []
  const written: Offender[] = []
  const logins: BlockedLogins = {
    block: async (offender) => void written.push(offender),
    list: async () => [],
    whileBlocked: (_, work) => work(),
    current: async (tenantId) => loginName(tenantId, 'blue'),
  }
  let passes = 0
  const watch = new ServerWatch({
    server: 'default',
    clock: systemClock,
    login: async () => address,
    limits: () => limits,
    offences: { count: 3, withinMs: 600_000 },
    logins,
    observer: {
      ended: (_, ending) => ended.push(ending),
      blocked: (offender) => blocked.push(offender),
      failed: (_, error) => errors.push(error),
      passed: () => {
        passes += 1
      },
    },
    ...others,
  })
  t.teardown(() => watch.close())
  return {
    watch,
    ended,
    blocked,
    errors,
    written,
    passes: () => passes,
    /** What was ended, as pid and reason. */
    reasons(): readonly (readonly [number | string, string])[] {
      return ended.map(({ reason, target }) => [
        target.kind === 'session'
          ? target.session.pid
          : target.kind === 'prepared'
            ? target.prepared.gid
            : target.worker.database,
        reason,
      ])
    },
    /** Passes until `isDone`, and no more than a thousand times. */
    async until(isDone: () => Promise<boolean>): Promise<void> {
      for (let pass = 0; pass < 1_000; pass++) {
        await watch.pass()
        await watch.settled()
        if (await isDone()) return
        await sleep(20)
      }
      throw new AggregateError(errors, `not so after 1,000 passes, of which ${passes} came to their end`)
    },
  }
}
