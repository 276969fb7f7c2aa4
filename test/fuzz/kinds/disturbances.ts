import { setTimeout as sleep } from 'node:timers/promises'
import { EVICTION_REASONS, type EvictionReason } from '../../../src/pool/contract.ts'
import { sql } from '../../../src/pool/statement.ts'
import type { Kind } from '../kind.ts'
import { exactly, lessor, mine, own } from '../question.ts'
import type { FuzzTenant } from '../tenant.ts'
import { MOVING } from './good.ts'

const GONE = ['CLIENT_CLOSED_REQUEST']

/** CANCELS are callers who go away before, while or after their statement runs; no neighbour may notice. */
export const CANCELS: readonly Kind[] = [
  {
    name: 'caller gone before',
    weight: 2,
    play: async (scene) => {
      const caller = new AbortController()
      caller.abort()
      await scene.use((db) => scene.good(db, { allows: GONE }), { caller, allows: GONE })
    },
  },
  {
    name: 'caller gone at once',
    weight: 3,
    play: async (scene) => {
      const caller = new AbortController()
      const used = scene.use((db) => Promise.all([1, 2, 3].map(() => scene.good(db, { allows: GONE }))), {
        caller,
        allows: GONE,
      })
      if (scene.random.chance(0.5)) await sleep(scene.random.below(4))
      caller.abort()
      await used
    },
  },
  {
    name: 'caller gone while a slow statement runs',
    weight: 1,
    play: async (scene) => {
      const caller = new AbortController()
      const seconds = scene.random.pick([0.05, 0.15, 0.3])
      const used = scene.use(
        (db) => {
          const asking = scene.asking()
          const question = {
            statement: sql`select ${mine(asking)} from markers m, pg_sleep(${seconds}::float8)`,
            answer: exactly([own(asking)]),
          }
          return scene.ask(db, question, { allows: GONE })
        },
        { caller, allows: GONE },
      )
      await sleep(scene.random.below(300))
      caller.abort()
      await used
    },
  },
  {
    name: 'caller gone in a transaction',
    weight: 1,
    play: async (scene) => {
      const caller = new AbortController()
      const used = scene.use(
        (db) =>
          scene.transaction(
            db,
            async (tx) => {
              for (let i = 0; i < 3; i++) {
                const outcome = await scene.good(tx, { isInTransaction: true, allows: GONE })
                if ('error' in outcome) throw outcome.error
                await sleep(scene.random.below(60))
              }
            },
            { allows: GONE },
          ),
        { caller, allows: GONE },
      )
      await sleep(scene.random.below(150))
      caller.abort()
      await used
    },
  },
  {
    name: 'a statement that cancels itself',
    weight: 1,
    make: (asking) => ({
      statement: sql`select pg_cancel_backend(pg_backend_pid()), pg_sleep(1), ${mine(asking)} from markers m`,
      error: lessor('STATEMENT_TIMEOUT'),
    }),
  },
]

/** A session that is ended while it logs in costs an opening, and its breaker's pause. */
const LOST = ['CONNECTION_LOST', 'POOL_OPEN_FAILED', 'TENANT_UNAVAILABLE', 'SERVER_UNAVAILABLE']

/** TERMINATIONS end backends, from outside and from inside. */
export const TERMINATIONS: readonly Kind[] = [
  {
    name: 'backend terminated by the administrator',
    weight: 1,
    beside: { any: LOST },
    play: async (scene) => {
      await scene.stage.house.terminate(scene.tenant)
      await scene.use((db) => scene.good(db))
    },
  },
  {
    name: 'backend terminated by its own statement',
    weight: 1,
    beside: { any: LOST },
    make: (asking) => ({
      statement: sql`select pg_terminate_backend(pg_backend_pid()), pg_sleep(5), ${mine(asking)} from markers m`,
      error: lessor('CONNECTION_LOST'),
    }),
  },
]

const CHANGES: readonly ((markers: readonly FuzzTenant[], n: number) => string)[] = [
  (_, n) => `alter table moving add column if not exists extra_${n % 4} text default 'extra'`,
  (_, n) => `alter table moving drop column if exists extra_${n % 4}`,
  () => 'alter table moving alter column amount type text using amount::text',
  () => 'alter table moving alter column amount type integer using amount::integer',
  () => 'analyze moving',
  (tenants) => `
    drop table moving;
    create table moving (
      tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
      marker text not null, amount integer not null, primary key (tenant_id));
    select lessor.protect('moving');
    insert into moving (tenant_id, amount, marker) values
      ${tenants.map(({ id, marker }) => `('${id}', 7, '${marker}')`).join(', ')}`,
]

/** DDL changes the table beneath the statements that read it. */
export const DDL: readonly Kind[] = [
  {
    name: 'table altered',
    weight: 1,
    beside: { any: ['CONNECTION_LOST'], inTransaction: ['0A000', 'SCHEMA_CHANGED'], reach: 'everybody' },
    play: async (scene) => {
      const change = scene.random.pick(CHANGES)
      const n = scene.random.below(4)
      const burst = () => scene.use((db) => scene.stream(db, 6, MOVING))
      // Plans that are known, and then stale all at once, some of them beneath a statement that is on its way.
      await burst()
      const altered = scene.stage.house.alter(scene.tenant, (tenants) => change(tenants, n))
      if (scene.random.chance(0.5)) await burst()
      await altered
      await burst()
    },
  },
]

const REASONS: readonly EvictionReason[] = EVICTION_REASONS.filter((reason) => reason !== 'shutdown')

/** POOLS are evictions, rotations and sweeps while all is in use: nobody may notice. */
export const POOLS: readonly Kind[] = [
  {
    name: 'eviction',
    weight: 2,
    play: async ({ stage: { pools, watch }, tenant, random }) => {
      await watch.bound(() => pools.evict(tenant.id, random.pick(REASONS)), 2)
    },
  },
  {
    name: 'eviction beneath a lease',
    weight: 2,
    play: async (scene) => {
      const { pools, watch } = scene.stage
      let evicted: Promise<unknown> = Promise.resolve()
      await scene.use(async (db) => {
        await scene.good(db)
        evicted = watch.bound(() => pools.evict(scene.tenant.id, 'operator'), 2)
        await Promise.all([scene.good(db), scene.good(db)])
      })
      await evicted
    },
  },
  {
    name: 'rotation',
    weight: 1,
    play: async (scene) => {
      const { pools, generations, watch } = scene.stage
      const generation = scene.key.generation + 1
      generations.set(scene.tenant.id, generation)
      const key = { tenantId: scene.tenant.id, generation }
      await watch.bound(() => pools.evictOlder(key, 'rotation'), 2)
      await scene.use((db) => scene.good(db))
    },
  },
  {
    name: 'sweep',
    weight: 1,
    play: async ({ stage: { pools }, random }) => {
      pools.sweep({ dryRun: random.chance(0.3) })
      pools.rebalance()
    },
  },
]
