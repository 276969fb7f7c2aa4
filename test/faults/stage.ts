import type { Test } from 'tap'
import type { Clock } from '../../src/clock.ts'
import type { Environment } from '../../src/config.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { type TestApp, type TestTenant, testApp } from '../support/app.ts'
import { like } from '../support/like.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { TENANT_LOGIN } from './logins.ts'
import { Traffic } from './traffic.ts'

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => Promise<void>): void
}

/** Times so short that a test can wait for them, and so long that a busy machine does not run into them. */
const SHORT: Environment = {
  LOG_LEVEL: 'warn',
  POOL_MAX_CONNECTIONS: '3',
  POOL_ACQUIRE_TIMEOUT_MS: '4000',
  POOL_CONNECT_TIMEOUT_MS: '3000',
  POOL_DRAIN_TIMEOUT_MS: '4000',
  STATEMENT_TIMEOUT_MS: '4000',
  REQUEST_TIMEOUT_MS: '8000',
  BREAKER_BASE_MS: '50',
  BREAKER_MAX_MS: '400',
}

const NO_PROBE = { tenant: { half_open: 0 }, server: { half_open: 0 } }

export interface StageOptions {
  /** The database itself, as superuser. */
  readonly url: string
  /** What stands before it; without one the service connects directly. */
  readonly proxy?: TcpProxy
  readonly tenants?: number
  readonly environment?: Environment
  readonly clock?: Clock
}

/** Stage is the whole service with some tenants, each of them served once, and what a test looks at it with. */
export class Stage {
  readonly service: TestApp
  readonly tenants: readonly TestTenant[]
  readonly #options: StageOptions

  private constructor(service: TestApp, tenants: readonly TestTenant[], options: StageOptions) {
    this.service = service
    this.tenants = tenants
    this.#options = options
  }

  static async open(t: Scope, options: StageOptions): Promise<Stage> {
    const { url, proxy, clock, environment } = options
    const service = await testApp(
      t,
      { ...SHORT, DATABASE_URL: proxy?.url(url) ?? url, ...environment },
      clock && { clock },
    )
    const tenants = []
    for (let i = 0; i < (options.tenants ?? 3); i++) tenants.push(await service.onboard(`tenant ${i}`))
    for (const { inject } of tenants) {
      const { statusCode, body } = await inject({ url: '/v1/users' })
      if (statusCode !== 200) throw new Error(`a tenant is not served: ${body}`)
    }
    return new Stage(service, tenants, options)
  }

  get pools() {
    return this.service.lessor.pools
  }

  /** url is the database itself, as superuser, past any proxy. */
  get url(): string {
    return this.#options.url
  }

  /** traffic starts callers and resolves when every tenant has been served. */
  async traffic(
    t: Test,
    options: { callers?: number; tenants?: readonly TestTenant[] } = {},
  ): Promise<Traffic> {
    const { callers = 4, tenants = this.tenants } = options
    const traffic = new Traffic({ tenants, callers })
    t.teardown(() => traffic.stop())
    await eventually(() => traffic.unserved())
    return traffic
  }

  /** backends is how many sessions of tenants the server has. */
  async backends(): Promise<number> {
    const rows = await withAdmin(
      this.url,
      (admin) => admin<{ count: number }[]>`
        select count(*)::int as count from pg_stat_activity
        where datname = current_database() and usename ~ ${TENANT_LOGIN.source}`,
    )
    return rows[0]?.count ?? 0
  }

  /**
   * settled resolves when nothing is under way and the server has as many sessions as the engine says;
   * returns what the engine says, but for the number of idle connections.
   */
  async settled() {
    await eventually(async () => {
      const { leases, waiting, connections, entries } = this.pools.gauges()
      const { idle, opening, busy, closing } = connections
      const moving = entries.opening + entries.draining
      const counts = { leases, waiting, moving, opening, busy, closing }
      const backends = await this.backends()
      const isSettled = backends === idle && Object.values(counts).every((count) => count === 0)
      return isSettled ? undefined : JSON.stringify({ ...counts, idle, backends })
    })
    const { connections, ...gauges } = this.pools.gauges()
    return gauges
  }

  /** recovered waits until every tenant is served again, and says how long that took. */
  async recovered(t: Test, traffic: Traffic): Promise<void> {
    traffic.since()
    const ms = await eventually(() => traffic.unserved())
    t.comment(`served again after ${ms} ms`)
  }

  /** judge ends the traffic and holds it to what no fault may change; `allowed` is what callers may be answered. */
  async judge(t: Test, traffic: Traffic, allowed: readonly ErrorCode[]): Promise<void> {
    await traffic.stop()
    t.comment(`${traffic.total} requests: ${traffic.summary()}`)
    const outcomes: readonly string[] = ['ok', ...allowed]
    const others = [...traffic.outcomes.keys()].filter((outcome) => !outcomes.includes(outcome))
    t.strictSame(others, [], `no outcome but ${outcomes.join(', ')}`)
    if (others.length > 0) for (const line of this.service.logged().slice(-5)) t.comment(JSON.stringify(line))
    t.strictSame(traffic.odd, [], 'every 503 says when to come back')
    const { entries, ...gauges } = await this.settled()
    t.equal(entries.ready, this.tenants.length, 'every tenant has its entry')
    like(t, gauges, { leases: 0, waiting: 0, breakers: NO_PROBE }, 'nothing is under way')
    await eventually(() => this.#paused())
    await this.#judgeWrites(t, traffic)
  }

  /** close closes the service: no session is left at the server, and no socket in the proxy. */
  async close(t: Test): Promise<void> {
    const { proxy } = this.#options
    await this.service.app.close()
    await eventually(async () => {
      const backends = await this.backends()
      const proxied = proxy?.left.map((opening) => opening ?? 'nothing said yet') ?? []
      return backends + proxied.length > 0 ? JSON.stringify({ backends, proxied }) : undefined
    })
    t.strictSame(this.pools.gauges().connections, { opening: 0, idle: 0, busy: 0, closing: 0 })
  }

  /** Whom a breaker still keeps away. One that is open past its pause lets the next connection through. */
  #paused(): string | undefined {
    const now = this.service.lessor.clock.now()
    const servers = this.pools.budget().servers.map(({ breaker }) => breaker)
    const breakers = [...this.pools.snapshots().map(({ breaker }) => breaker), ...servers]
    const paused = breakers.filter(({ retryAt }) => retryAt !== null && retryAt > now)
    return paused.length === 0 ? undefined : JSON.stringify(paused)
  }

  async #judgeWrites(t: Test, { id, writes }: Traffic): Promise<void> {
    const rows = await withAdmin(
      this.url,
      (admin) => admin<{ name: string; count: number; tenant: string }[]>`
        select first_name as name, count(*)::int as count, min(tenant_id::text) as tenant
        from app.users where last_name = ${id} group by first_name`,
    )
    const found = new Map(rows.map(({ name, ...row }) => [name, row]))
    const wrong = [...writes].filter(([name, { tenantId, outcome }]) => {
      const row = found.get(name)
      if (row === undefined) return outcome === 'acknowledged'
      return row.count !== 1 || row.tenant !== tenantId
    })
    const strange = rows.filter(({ name }) => !writes.has(name))
    const failed = [...writes.values()].filter(({ outcome }) => outcome === 'failed').length
    const kept = rows.length - (writes.size - failed)
    t.comment(`${writes.size} writes, ${failed} answered with an error, ${kept} of those took effect`)
    t.strictSame(
      { wrong, strange },
      { wrong: [], strange: [] },
      'acknowledged writes are there once, others at most once',
    )
  }
}
