import fc from 'fast-check'
import t from 'tap'
import { isLessorError } from '../../src/errors.ts'
import { EVICTION_REASONS, type PoolKey, type PoolLimits, type Reservation } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { holds } from '../support/holds.ts'
import { FakeClock, type FakeConnection, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

/*
 * The model. Six tenants on two servers, each with a generation; in half of the histories four of them
 * share a pool on each server. A unit of work leases its
 * tenant's pool and runs one statement, or a transaction of two; it ends when the fake server
 * answers. What may go wrong with it is known: its own caller goes away, the server refuses its
 * statement, its connection is lost, its pool cannot be opened or a breaker is open since one could
 * not, it waits past its deadline or is one of too many who wait, the registry ends. Nothing else, and an eviction above all, may make it fail; and what it reads is
 * its own tenant's.
 *
 * Held after every step, whatever the order:
 *  - connections opening or open per tenant, per server and in all, reservations included, openings at
 *    once, and resident entries never pass their limits; under a server limit that went down none is
 *    opened as long as there are more;
 *  - the budget that is shown is what the driver has;
 *  - a server connection has at most 16 statements (one in a transaction), none of another tenant but
 *    where it is shared, and is said goodbye to only when it runs nothing;
 *  - a tenant that shares a pool is on no more connections of it than it may have of its own;
 *  - a cancel request is sent only to a connection whose one statement it means;
 *  - a tenant is located only for its one entry that is opening.
 * Held at the end: everything is closed, every unit of work has ended, counters add up.
 */
const TENANTS = [0, 1, 2, 3, 4, 5].map((n) => `00000000-0000-4000-8000-00000000000${n}`)
const numberOf = (tenantId: string) => Number(tenantId.at(-1))
const nameOf = (n: number) => TENANTS[n % TENANTS.length] ?? ''
const limits: PoolLimits = {
  ...LIMITS,
  maxEntries: 3,
  maxConnections: 2,
  sharedMaxConnections: 3,
  serverMaxConnections: 4,
  processMaxConnections: 6,
  maxOpening: 2,
  maxWaiting: 12,
  connectionIdleMs: 1_000,
  idleMs: 5_000,
}
const serverOf = (tenantId: string) => (numberOf(tenantId) % 2 === 0 ? 'even' : 'odd')

type Action =
  | { readonly do: 'use'; readonly tenant: number; readonly kind: 'statement' | 'transaction' }
  | { readonly do: 'answer'; readonly pick: number; readonly outcome: 'ok' | 'error' }
  | { readonly do: 'lose' | 'abort' | 'open' | 'failOpen'; readonly pick: number }
  | { readonly do: 'evict'; readonly tenant: number; readonly reason: (typeof EVICTION_REASONS)[number] }
  | { readonly do: 'rotate'; readonly tenant: number }
  | { readonly do: 'limit'; readonly server: 'even' | 'odd'; readonly limit: number }
  | { readonly do: 'reserve'; readonly tenant: number }
  | { readonly do: 'giveBack'; readonly pick: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'sweep' | 'settle' | 'manual' | 'automatic' }

const pick = fc.nat(50)
const tenant = fc.nat(TENANTS.length - 1)
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('use' as const),
      tenant,
      kind: fc.constantFrom('statement' as const, 'statement' as const, 'transaction' as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      pick,
      outcome: fc.constantFrom('ok' as const, 'ok' as const, 'error' as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'lose' as const,
        'abort' as const,
        'open' as const,
        'open' as const,
        'failOpen' as const,
      ),
      pick,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('evict' as const),
      tenant,
      reason: fc.constantFrom(...EVICTION_REASONS),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rotate' as const), tenant }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('limit' as const),
      server: fc.constantFrom('even' as const, 'odd' as const),
      limit: fc.integer({ min: 1, max: limits.serverMaxConnections }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reserve' as const), tenant }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('giveBack' as const), pick }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 5, 150, 300, 1_500, 6_000, 20_000, 40_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'sweep' as const,
        'settle' as const,
        'settle' as const,
        'manual' as const,
        'automatic' as const,
      ),
    }),
  },
)

interface Work {
  readonly tenantId: string
  readonly value: number
  readonly caller: AbortController
  outcome: 'pending' | 'ok' | Error
}

class World {
  readonly clock = new FakeClock()
  readonly driver = new FakeDriver()
  readonly generations = new Map<string, number>(TENANTS.map((id) => [id, 1]))
  readonly works: Work[] = []
  readonly broken: string[] = []
  readonly evictions: Promise<boolean>[] = []
  readonly registry: PoolRegistry
  readonly serverLimits = { even: limits.serverMaxConnections, odd: limits.serverMaxConnections }
  readonly reservations: { readonly tenantId: string; readonly reservation: Reservation }[] = []
  reserves = 0
  finishing = false
  ending = false
  readonly isSharing: boolean
  #values = 0

  constructor(isSharing: boolean) {
    this.isSharing = isSharing
    this.registry = new PoolRegistry({
      limits,
      clock: this.clock,
      hasTimer: false,
      connect: this.driver.connect,
      serverLimit: (server) => this.serverLimits[server as 'even' | 'odd'],
      random: () => 0.5,
      locate: async (key) => {
        if (
          this.registry
            .snapshots()
            .filter(
              (each) =>
                each.tenantId === key.tenantId &&
                each.state === 'opening' &&
                each.generation === key.generation,
            ).length < 1
        ) {
          this.broken.push(`${key.tenantId} was located without an entry that is opening`)
        }
        const weight = 1 + numberOf(key.tenantId)
        const isShared = this.shares(key.tenantId)
        return { ...target(isShared ? 'row' : key.tenantId, serverOf(key.tenantId)), weight, isShared }
      },
    })
    this.driver.onChange = () => this.check()
    this.driver.onOpening = (server) => this.#opens(server)
    this.driver.onCancel = (connection) => {
      const isCut = this.ending || this.drainDeadlines > 0
      if (!isCut && !inTransaction(connection) && connection.flights.some((each) => this.#mayLive(each))) {
        this.broken.push('a cancel request could have hit a neighbour')
      }
    }
  }

  /** Whether a statement on the wire has a caller who still waits for it, and time left. */
  #mayLive({ statement }: FakeConnection['flights'][number]): boolean {
    const work = this.works.find(({ value }) => value === statement.values[0])
    return work !== undefined && !work.caller.signal.aborted && this.waited < limits.statementTimeoutMs
  }

  shares(tenantId: string): boolean {
    return this.isSharing && numberOf(tenantId) > 1
  }

  key(tenantId: string): PoolKey {
    return { tenantId, generation: this.generations.get(tenantId) ?? 1 }
  }

  use(tenantId: string, kind: 'statement' | 'transaction'): void {
    this.#values += 1
    const work: Work = { tenantId, value: this.#values, caller: new AbortController(), outcome: 'pending' }
    this.works.push(work)
    this.registry
      .use(this.key(tenantId), work.caller, async (db) => {
        const statement = sql`select ${work.value}`
        if (kind === 'statement') return db.query<{ user: string; value: number }>(statement)
        return db.transaction(async (tx) => {
          await tx.query(sql`insert ${work.value}`)
          return tx.query<{ user: string; value: number }>(statement)
        })
      })
      .then(
        ([row]) => {
          work.outcome = 'ok'
          if (row?.user !== tenantId || row.value !== work.value) {
            this.broken.push(`work ${work.value} of ${tenantId} read ${JSON.stringify(row)}`)
          }
        },
        (error: Error) => {
          work.outcome = error
          this.#explain(work, error)
        },
      )
  }

  /** Every failure must have a cause that the model knows. */
  #explain(work: Work, error: Error): void {
    const { code } = error as { code?: string }
    const known =
      (code === 'CLIENT_CLOSED_REQUEST' && work.caller.signal.aborted) ||
      code === '22012' ||
      // The last: it stood behind a statement that was late and whose cancel request was not answered.
      (code === 'CONNECTION_LOST' &&
        (this.lost > 0 || this.drainDeadlines > 0 || this.waited >= limits.statementTimeoutMs)) ||
      ((code === 'POOL_OPEN_FAILED' || code === 'TENANT_UNAVAILABLE' || code === 'SERVER_UNAVAILABLE') &&
        this.failedOpens > 0) ||
      (code === 'POOL_SATURATED' &&
        (this.waited >= limits.acquireTimeoutMs || this.works.length + this.reserves > limits.maxWaiting)) ||
      (code === 'STATEMENT_TIMEOUT' && this.waited >= limits.statementTimeoutMs) ||
      (code === 'SHUTTING_DOWN' && (this.ending || this.shutdowns > 0))
    if (!known) this.broken.push(`work ${work.value} of ${work.tenantId} failed: ${code ?? error.stack}`)
  }

  lost = 0
  failedOpens = 0
  waited = 0
  shutdowns = 0
  drainDeadlines = 0

  check(): void {
    const perTenant = new Map<string, number>()
    const perServer = new Map<string, number>()
    const count = (tenantId: string, server: string) => {
      perTenant.set(tenantId, (perTenant.get(tenantId) ?? 0) + 1)
      perServer.set(server, (perServer.get(server) ?? 0) + 1)
    }
    for (const { target } of [...this.driver.live, ...this.driver.openings]) {
      count(target.user === 'row' ? `row at ${target.server}` : target.user, target.server)
    }
    for (const { tenantId } of this.reservations) count(tenantId, serverOf(tenantId))
    const inAll = [...perServer.values()].reduce((sum, each) => sum + each, 0)
    if (inAll > limits.processMaxConnections) this.broken.push(`${inAll} connections in all`)
    for (const [id, count] of perTenant)
      if (count > (id.startsWith('row') ? limits.sharedMaxConnections : limits.maxConnections))
        this.broken.push(`${id}: ${count} connections`)
    for (const [id, count] of this.#onShared())
      if (count > limits.maxConnections) this.broken.push(`${id} is on ${count} shared connections`)
    for (const [id, count] of perServer)
      if (count > limits.serverMaxConnections) this.broken.push(`${id}: ${count} connections`)
    if (this.driver.openings.size > limits.maxOpening)
      this.broken.push(`${this.driver.openings.size} openings`)
    for (const { server, used } of this.registry.budget().servers) {
      const there = perServer.get(server) ?? 0
      // A socket that is gone is given back a moment later.
      if (used < there) this.broken.push(`${server}: ${used} shown of ${there}`)
    }
    const { entries } = this.registry.gauges()
    if (entries.opening + entries.ready > limits.maxEntries) this.broken.push('too many entries')
    for (const connection of this.driver.live) {
      if (connection.flights.length > 16) this.broken.push('17 statements on one connection')
      if (
        connection.state === 'closing' &&
        connection.flights.length > 0 &&
        !this.ending &&
        this.drainDeadlines === 0
      ) {
        this.broken.push('goodbye was said while a statement ran')
      }
    }
  }

  /** On how many shared connections each tenant is. */
  #onShared(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const connection of this.driver.live) {
      const tenants = new Set(connection.flights.map(({ binding }) => binding))
      for (const id of tenants) if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    return counts
  }

  /** A connection that is about to be opened must fit its server's limit as that is now. */
  #opens(server: string): void {
    const there = [...this.driver.live, ...this.driver.openings].filter(
      (each) => each.target.server === server,
    )
    const reserved = this.reservations.filter(({ tenantId }) => serverOf(tenantId) === server).length
    if (there.length + reserved > this.serverLimits[server as 'even' | 'odd']) {
      this.broken.push(`${server} was opened past its limit`)
    }
  }

  async act(action: Action): Promise<void> {
    switch (action.do) {
      case 'use':
        this.use(nameOf(action.tenant), action.kind)
        break
      case 'answer': {
        const busy = [...this.driver.live].filter((each) => each.flights.length > 0)
        busy[action.pick % busy.length]?.answer(action.outcome)
        break
      }
      case 'lose': {
        const live = [...this.driver.live]
        this.lost += 1
        live[action.pick % live.length]?.lose()
        break
      }
      case 'abort':
        this.works[action.pick % this.works.length]?.caller.abort()
        break
      case 'open':
      case 'failOpen': {
        const openings = [...this.driver.openings]
        if (action.do === 'failOpen') this.failedOpens += 1
        openings[action.pick % openings.length]?.finish(
          action.do === 'failOpen' ? Object.assign(new Error('no'), { code: 'ECONNREFUSED' }) : undefined,
        )
        break
      }
      case 'evict':
        if (action.reason === 'shutdown') this.shutdowns += 1
        this.evictions.push(this.registry.evict(nameOf(action.tenant), action.reason))
        break
      case 'rotate': {
        const id = nameOf(action.tenant)
        this.generations.set(id, (this.generations.get(id) ?? 1) + 1)
        break
      }
      case 'limit':
        this.serverLimits[action.server] = action.limit
        this.registry.rebalance()
        break
      case 'reserve': {
        const tenantId = nameOf(action.tenant)
        this.reserves += 1
        this.registry.reserve(serverOf(tenantId), tenantId, new AbortController()).then(
          (reservation) => {
            const mine = { tenantId, reservation }
            // Whoever gets it when all is over gives it back at once.
            if (this.finishing || this.ending) reservation.release()
            else this.reservations.push(mine)
          },
          (error: Error) => {
            const { code = '' } = error as { code?: string }
            if (!['POOL_SATURATED', 'SHUTTING_DOWN'].includes(code))
              this.broken.push(`reserve: ${error.stack}`)
          },
        )
        break
      }
      case 'giveBack': {
        const index = action.pick % Math.max(1, this.reservations.length)
        this.reservations.splice(index, 1)[0]?.reservation.release()
        break
      }
      case 'wait':
        this.clock.time += action.ms
        this.waited += action.ms
        if (this.waited >= limits.connectTimeoutMs) this.failedOpens += 1
        if (this.waited >= limits.drainTimeoutMs) this.drainDeadlines += 1
        this.registry.tick()
        break
      case 'sweep':
        this.registry.sweep()
        break
      case 'settle':
        await settle()
        break
      case 'manual':
      case 'automatic':
        this.driver.automatic = action.do === 'automatic'
        break
    }
    this.check()
  }

  /** The server answers everything, and time goes by, until `done`. */
  async until(done: Promise<unknown>): Promise<void> {
    let isDone = false
    void done.then(() => {
      isDone = true
    })
    for (let i = 0; i < 500; i++) {
      for (const connection of [...this.driver.live]) connection.answer()
      await settle()
      if (isDone) return
      this.clock.time += 1_000
      this.registry.tick()
    }
    this.broken.push('the registry never closed')
  }

  /** The server answers everything until nothing is left to answer. */
  async finish(): Promise<void> {
    this.driver.automatic = true
    this.finishing = true
    for (const { reservation } of this.reservations.splice(0)) reservation.release()
    for (let i = 0; i < 500; i++) {
      for (const opening of [...this.driver.openings]) opening.finish()
      for (const connection of [...this.driver.live]) connection.answer()
      await settle()
      this.check()
      if (this.works.every((work) => work.outcome !== 'pending')) return
      // Turns are taken, and pauses end, by the clock.
      this.clock.time += 20
      this.waited += 20
      this.registry.tick()
    }
    this.broken.push('work never ended')
  }
}

function inTransaction(connection: FakeConnection): boolean {
  return connection.flights.some(({ statement }) =>
    /begin|insert|rollback|commit/.test(statement.strings[0] ?? ''),
  )
}

t.test(
  'no lease is broken by an eviction, no limit is passed, nothing leaks, whatever the order',
  async (t) => {
    await holds(
      t,
      fc.asyncProperty(
        fc.boolean(),
        fc.array(action, { maxLength: 150, size: 'max' }),
        async (isSharing, actions) => {
          const world = new World(isSharing)
          for (const each of actions) await world.act(each)
          await world.finish()
          world.ending = true
          await world.until(Promise.all([world.registry.close(), ...world.evictions]))
          const gauges = world.registry.gauges()
          const counters = world.registry.counters()
          const evictions = Object.values(counters.evictions).reduce((sum, count) => sum + count, 0)
          if (gauges.leases !== 0 || gauges.waiting !== 0)
            world.broken.push(`left over: ${JSON.stringify(gauges)}`)
          if (world.registry.snapshots().length !== 0) world.broken.push('an entry is left')
          if (world.driver.live.size + world.driver.openings.size !== 0)
            world.broken.push('a connection is left')
          if (counters.connectionsOpened !== counters.connectionsClosed)
            world.broken.push('connections do not add up')
          if (evictions < counters.opens.ok)
            world.broken.push(`${counters.opens.ok} opened, ${evictions} evicted`)
          if (world.broken.length > 0) throw new Error(world.broken.join('\n'))
        },
      ),
      { numRuns: 800 },
    )
    t.pass('800 random histories')
  },
)

t.test('destroy ends everything at once, whatever the order before', async (t) => {
  await holds(
    t,
    fc.asyncProperty(
      fc.boolean(),
      fc.array(action, { maxLength: 80, size: 'max' }),
      async (isSharing, actions) => {
        const world = new World(isSharing)
        for (const each of actions) await world.act(each)
        world.ending = true
        world.lost += 1
        for (const { reservation } of world.reservations.splice(0)) reservation.release()
        const reason = new Error('enough')
        await world.until(world.registry.destroy(reason))
        if (world.driver.live.size + world.driver.openings.size !== 0)
          world.broken.push('a connection is left')
        if (world.works.some((work) => work.outcome === 'pending')) world.broken.push('work never ended')
        if (world.broken.length > 0) throw new Error(world.broken.join('\n'))
        await world.registry
          .use({ tenantId: nameOf(0), generation: 1 }, new AbortController(), async () => {})
          .then(
            () => Promise.reject(new Error('work was taken after the end')),
            (error) => {
              if (!isLessorError(error, 'SHUTTING_DOWN')) throw error
            },
          )
      },
    ),
    { numRuns: 300 },
  )
  t.pass('300 random histories')
})
