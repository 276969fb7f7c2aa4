import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { argon2idHasher, type SecretHasher } from '../../src/access/secret-hasher.ts'
import type { Clock } from '../../src/clock.ts'
import { ControlDatabase, type ControlDb } from '../../src/control/control-database.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import type { TenantStatus } from '../../src/tenants/tenant.ts'
import { testDatabase } from '../support/database.ts'

export const OPERATOR_KEY = 'operator-key/with.32+characters!at~least'

/** controlDatabase opens a migrated control database that the test has to itself. */
export async function controlDatabase(t: Test): Promise<ControlDatabase> {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url, maxConnections: 4 })
  t.teardown(() => db.close())
  await db.query(sql`
    insert into lessor.servers (name, host, port, database, tls) values ('main', 'localhost', 5432, 'app', 'disable')`)
  return db
}

/** addNamespace makes a namespace and returns its id. */
export async function addNamespace(db: Db, name: string = randomUUID()): Promise<string> {
  const id = randomUUID()
  await db.query(sql`insert into lessor.namespaces (id, name, name_key) values (${id}, ${name}, ${name})`)
  return id
}

/** addTenant makes a tenant's row and returns its id. */
export async function addTenant(
  db: Db,
  namespaceId: string,
  status: TenantStatus = 'active',
): Promise<string> {
  const id = randomUUID()
  await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status)
    values (${id}, ${namespaceId}, ${id}, ${id}, 'role', 'main', ${status})`)
  return id
}

/** ManualClock stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = 1_700_000_000_000

  now(): number {
    return this.#now
  }

  advance(ms: number): void {
    this.#now += ms
  }
}

/** CountingDb counts the statements on their way to a real database; `before` and `after` can hold them up. */
export class CountingDb implements ControlDb {
  readonly #db: ControlDb
  queries = 0
  running = 0
  mostRunning = 0
  before: () => Promise<void> = async () => {}
  after: () => Promise<void> = async () => {}

  constructor(db: ControlDb) {
    this.#db = db
  }

  announce(channel: string, payload: string): void {
    this.#db.announce(channel, payload)
  }

  script(text: string): Promise<void> {
    return this.#db.script(text)
  }

  async query<Row extends object>(statement: Parameters<Db['query']>[0]): Promise<readonly Row[]> {
    this.queries++
    this.running++
    this.mostRunning = Math.max(this.mostRunning, this.running)
    try {
      await this.before()
      const rows = await this.#db.query<Row>(statement)
      await this.after()
      return rows
    } finally {
      this.running--
    }
  }

  async transaction<T>(fn: (tx: ControlDb) => Promise<T>): Promise<T> {
    const result = await this.#db.transaction(fn)
    await this.after()
    return result
  }
}

/** CountingHasher counts the real hasher's verifications; `before` can hold them up. */
export class CountingHasher implements SecretHasher {
  verifications = 0
  running = 0
  mostRunning = 0
  /** What was verified, in order of the start. */
  readonly started: { readonly hash: string; readonly secret: string }[] = []
  before: () => Promise<void> = async () => {}

  isSlow(): boolean {
    return true
  }

  async faster(): Promise<undefined> {}

  hash(...args: Parameters<SecretHasher['hash']>): Promise<string> {
    return argon2idHasher.hash(...args)
  }

  async verify(...args: Parameters<SecretHasher['verify']>): Promise<boolean> {
    const [hash, { secret }] = args
    this.started.push({ hash, secret: secret.reveal() })
    this.verifications++
    this.running++
    this.mostRunning = Math.max(this.mostRunning, this.running)
    try {
      await this.before()
      return await argon2idHasher.verify(...args)
    } finally {
      this.running--
    }
  }
}

/** Barrier holds up whoever passes until it is opened. */
export class Barrier {
  readonly #reached = Promise.withResolvers<void>()
  readonly #opened = Promise.withResolvers<void>()

  /** Resolves when someone waits at the barrier. */
  get reached(): Promise<void> {
    return this.#reached.promise
  }

  readonly pass = (): Promise<void> => {
    this.#reached.resolve()
    return this.#opened.promise
  }

  open(): void {
    this.#opened.resolve()
  }
}
