import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LightMyRequestResponse } from 'fastify'
import type { TestTenant } from '../support/app.ts'

/** Who was refused waits a moment, as clients do, lest they all spin. */
const PAUSE_MS = 5

export interface TrafficOptions {
  readonly tenants: readonly TestTenant[]
  /** Callers of each tenant; each has one request under way at any time. */
  readonly callers: number
}

/** Write is what a caller knows of a row that it wanted to add. */
interface Write {
  readonly tenantId: string
  readonly outcome: 'acknowledged' | 'failed'
}

/**
 * Traffic is callers that add users, each by a name of its own, and read the last one that was
 * acknowledged, one request after the other until `stop`. It counts what they were answered.
 */
export class Traffic {
  /** The last name of all its users. */
  readonly id = randomUUID()
  /** Requests by outcome: `ok`, or the problem's code. */
  readonly outcomes = new Map<string, number>()
  /** Names of all users that were to be added. */
  readonly writes = new Map<string, Write>()
  /** Answers that were not as documented, as they were. */
  readonly odd: string[] = []
  readonly #callers: readonly Promise<void>[]
  readonly #tenants: readonly TestTenant[]
  /** Requests answered well, by tenant; with those alone that began since the last `recovered`. */
  readonly #served = new Map<string, { total: number; fresh: number }>()
  #era = 0
  #started = 0
  #isOver = false

  constructor({ tenants, callers }: TrafficOptions) {
    this.#tenants = tenants
    for (const { id } of tenants) this.#served.set(id, { total: 0, fresh: 0 })
    this.#callers = tenants.flatMap((tenant) => Array.from({ length: callers }, () => this.#call(tenant)))
  }

  /** Requests that ended. */
  get total(): number {
    return this.outcomes.values().reduce((sum, count) => sum + count, 0)
  }

  /** failed is how many requests ended otherwise than well. */
  get failed(): number {
    return this.total - this.served()
  }

  /** served is how many requests ended well, of all tenants or of one. */
  served(tenantId?: string): number {
    if (tenantId === undefined) return this.outcomes.get('ok') ?? 0
    return this.#served.get(tenantId)?.total ?? 0
  }

  /** summary is one line with the outcomes, most frequent first. */
  summary(): string {
    const sorted = [...this.outcomes].sort(([, a], [, b]) => b - a)
    return sorted.map(([outcome, count]) => `${count} ${outcome}`).join(', ')
  }

  /** since starts a new count: `unserved` then looks only at requests that begin from now on. */
  since(): void {
    this.#era += 1
    for (const served of this.#served.values()) served.fresh = 0
  }

  /** unserved says which tenants have had fewer than `times` good answers since `since`; undefined when none. */
  unserved(times = 3): string | undefined {
    const waiting = this.#tenants.filter(({ id }) => (this.#served.get(id)?.fresh ?? 0) < times)
    return waiting.length === 0
      ? undefined
      : `${waiting.length} of ${this.#tenants.length} tenants are not served; ${this.summary()}`
  }

  /** stop resolves when the requests under way have been answered. */
  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#callers)
  }

  async #call(tenant: TestTenant): Promise<void> {
    let lastId: string | undefined
    while (!this.#isOver) {
      const name = `w${this.#started++}`
      const era = this.#era
      const written = await tenant.inject({
        method: 'POST',
        url: '/v1/users',
        payload: { first_name: name, last_name: this.id },
      })
      const isAdded = this.#count(tenant, era, written, 201)
      this.writes.set(name, { tenantId: tenant.id, outcome: isAdded ? 'acknowledged' : 'failed' })
      if (isAdded) lastId = written.json<{ id: string }>().id
      else await sleep(PAUSE_MS)
      if (lastId === undefined) continue
      const read = await tenant.inject({ url: `/v1/users/${lastId}` })
      if (!this.#count(tenant, era, read, 200)) await sleep(PAUSE_MS)
    }
  }

  #count(tenant: TestTenant, era: number, answer: LightMyRequestResponse, good: number): boolean {
    const isGood = answer.statusCode === good
    const outcome = isGood ? 'ok' : (answer.json<{ code?: string }>().code ?? `status ${answer.statusCode}`)
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
    const served = this.#served.get(tenant.id)
    if (isGood && served !== undefined) {
      served.total += 1
      if (era === this.#era) served.fresh += 1
    }
    // Who is turned away is told when to come back.
    if (answer.statusCode === 503 && answer.headers['retry-after'] === undefined) this.odd.push(answer.body)
    return isGood
  }
}
