import { type Db, sql } from '../../src/pool/statement.ts'
import type { ConnectionDb } from './support.ts'

/** TRAFFIC_TABLES are two tables of which one refers to the other. */
export const TRAFFIC_TABLES = `
  set local search_path = app;
  create table accounts (
    tenant_id uuid not null,
    id integer,
    email text not null,
    balance integer not null,
    primary key (tenant_id, id),
    unique (tenant_id, email)
  );
  create table events (
    tenant_id uuid not null,
    id bigint generated always as identity,
    account integer,
    note text not null,
    hits integer not null default 0,
    primary key (tenant_id, id),
    foreign key (tenant_id, account) references accounts (tenant_id, id)
  );
  select lessor.protect('accounts'), lessor.protect('events')`

export const BALANCE = 100

/** fill gives a tenant accounts, numbered from 0, and an event for each. */
export async function fill(db: Db, count: number): Promise<void> {
  await db.query(sql`
    insert into accounts (id, email, balance)
    select i, 'mail ' || i, ${BALANCE}::integer from generate_series(0, ${count - 1}::integer) i`)
  await db.query(sql`
    insert into events (account, note) select nullif(i, 0), 'made' from generate_series(0, ${count - 1}::integer) i`)
}

/** Traffic is callers of one tenant that go on until they are stopped, and what they saw that should not be. */
export class Traffic {
  readonly failures: string[] = []
  readonly done: Record<string, number> = {}
  /** Notes of events whose insert was acknowledged and that were not deleted, with their hits. */
  readonly acknowledged = new Map<string, number>()
  readonly #name: string
  readonly #count: number
  readonly #callers: Promise<void>[] = []
  #isOver = false

  /** `count` is how many accounts the tenant has. */
  constructor(name: string, count: number) {
    this.#name = name
    this.#count = count
  }

  /** counts reads that everything is there once, by a statement that names the tenant or leaves that to the policy. */
  counts(db: ConnectionDb, tenantId: string): void {
    this.#call('count', async () => {
      const [named] = await db.query<Sums>(sql`
        select count(*)::integer as count, sum(balance)::integer as sum
        from accounts where tenant_id = ${tenantId}::uuid`)
      this.#compare('named', named)
      const [unnamed] = await db.query<Sums>(
        sql`select count(*)::integer as count, sum(balance)::integer as sum from accounts`,
      )
      this.#compare('unnamed', unnamed)
    })
  }

  /** looksBack reads everything in transactions that look at the database as it was when they began. */
  looksBack(db: ConnectionDb): void {
    this.#call('look back', () =>
      db.transaction(async (tx) => {
        await tx.query(sql`set transaction isolation level repeatable read`)
        await tx.query(sql`select count(*) from users`)
        await tx.query(sql`select pg_sleep(0.02)`)
        const [found] = await tx.query<Sums>(
          sql`select count(*)::integer as count, sum(balance)::integer as sum from accounts`,
        )
        this.#compare('looking back', found)
      }),
    )
  }

  /** transfers changes rows, deletes them and makes others so that count and sum stay as they are. */
  transfers(db: ConnectionDb): void {
    let turn = 0
    let newest = 0
    this.#call('transfer', async () => {
      turn += 1
      const [from, to] = [1 + (turn % (this.#count - 1)), 1 + ((turn * 7) % (this.#count - 1))]
      if (from !== to) {
        const changed = await db.query(sql`
          update accounts set balance = balance + case id when ${from}::integer then -1 else 1 end
          where id in (${from}::integer, ${to}::integer) returning id`)
        if (changed.length !== 2) throw new Error(`${changed.length} of two accounts were changed`)
      }
      await db.transaction(async (tx) => {
        const gone = await tx.query(sql`delete from accounts where id = ${newest}::integer returning id`)
        if (gone.length !== 1) throw new Error(`${gone.length} accounts were the newest`)
        await tx.query(sql`
          insert into accounts (id, email, balance) values (${-turn}::integer, 'the newest', ${BALANCE}::integer)`)
        await tx.query(sql`update accounts set balance = balance + 0 where id = ${-turn}::integer`)
      })
      newest = -turn
    })
  }

  /** writes inserts, updates and deletes, one acknowledged statement after the other. */
  writes(db: ConnectionDb, writer: string): void {
    let turn = 0
    this.#call('write', async () => {
      turn += 1
      const note = `${writer} ${turn}`
      await db.query(sql`
        insert into events (account, note) values (${1 + (turn % (this.#count - 1))}::integer, ${note})`)
      this.acknowledged.set(note, 0)
      const earlier = `${writer} ${Math.max(1, turn - 5)}`
      const rows = await db.query(sql`update events set hits = hits + 1 where note = ${earlier} returning id`)
      if (rows.length !== (this.acknowledged.has(earlier) ? 1 : 0)) {
        throw new Error(`${earlier} is there ${rows.length} times`)
      }
      if (rows.length === 1) this.acknowledged.set(earlier, (this.acknowledged.get(earlier) ?? 0) + 1)
      if (turn % 3 === 0) {
        const gone = await db.query(sql`delete from events where note = ${note} returning id`)
        if (gone.length !== 1) throw new Error(`${note} was there ${gone.length} times`)
        this.acknowledged.delete(note)
      }
    })
  }

  /** served resolves when every caller has got something done from now on. */
  async served(): Promise<void> {
    const before = { ...this.done }
    const isServed = () =>
      Object.keys(before).every((name) => (this.done[name] ?? 0) > (before[name] ?? 0) + 2)
    while (this.failures.length === 0 && !isServed()) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#callers)
  }

  #compare(how: string, found: Sums | undefined): void {
    if (found?.count === this.#count && found.sum === this.#count * BALANCE) return
    throw new Error(`${how}: ${found?.count} accounts with ${found?.sum}`)
  }

  #call(name: string, work: () => Promise<void>): void {
    const full = `${this.#name} ${name} ${this.#callers.length}`
    this.done[full] = 0
    this.#callers.push(
      (async () => {
        while (!this.#isOver && this.failures.length === 0) {
          try {
            await work()
            this.done[full] = (this.done[full] ?? 0) + 1
          } catch (error) {
            this.failures.push(`${full}: ${error instanceof Error ? error.message : String(error)}`)
          }
        }
      })(),
    )
  }
}

interface Sums {
  readonly count: number
  readonly sum: number | null
}
