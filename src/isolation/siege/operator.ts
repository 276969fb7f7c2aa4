import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PlacementName } from '../../tenants/tenant.ts'
import { request } from './neighbour.ts'

/** Before an operator tries once more what was refused. */
const RETRY_MS = 250
const POLL_MS = 50

/** Action is something that the operator did, and how long it took from the first try until it was done, or given up. */
export interface Action {
  readonly name: string
  readonly ms: number
  readonly isDone: boolean
  /** What was in the way, once each. */
  readonly reasons: readonly string[]
}

/** Try does something, resolves with undefined when it is done, and else with what was in the way. */
type Try = (signal: AbortSignal) => Promise<string | undefined>

export interface OperatorOptions {
  /** The service, without a path. */
  readonly url: string
  readonly key: string
  /** How long the operator tries before giving up. */
  readonly patienceMs: number
  /** Ends all trying. */
  readonly signal: AbortSignal
}

/** Operator looks after tenants through the service, and tries again what fails until its patience ends. */
export class Operator {
  readonly #options: OperatorOptions

  constructor(options: OperatorOptions) {
    this.#options = options
  }

  /** How long it tries before giving up. */
  get patienceMs(): number {
    return this.#options.patienceMs
  }

  /** act tries until it is done. */
  async act(name: string, attempt: Try, patienceMs = this.patienceMs): Promise<Action> {
    const begun = performance.now()
    const signal = AbortSignal.any([this.#options.signal, AbortSignal.timeout(patienceMs)])
    const reasons = new Set<string>()
    let isDone = false
    while (!isDone && !signal.aborted) {
      const reason = await attempt(signal)
      isDone = reason === undefined
      if (reason !== undefined) reasons.add(reason)
      if (!isDone) await sleep(RETRY_MS, undefined, { signal }).catch(() => {})
    }
    return { name, ms: performance.now() - begun, isDone, reasons: [...reasons] }
  }

  /** onboard tells of the tenant that it made; every try has a name of its own, since an earlier one may still be under way. */
  async onboard(
    placement: PlacementName,
    onTenant: (id: string, key: string) => void,
    patienceMs?: number,
  ): Promise<Action> {
    const attempt: Try = async (signal) => {
      const name = `siege ${randomBytes(8).toString('hex')}`
      const { reason, json } = await this.#send(signal, 'POST', '/v1/tenants', { name, placement })
      if (reason === undefined) {
        const { tenant, api_key } = json as { tenant: { id: string }; api_key: { key: string } }
        onTenant(tenant.id, api_key.key)
      }
      return reason
    }
    return this.act('onboard', attempt, patienceMs)
  }

  async move(name: 'suspend' | 'resume' | 'rotate-credential', id: string): Promise<Action> {
    return this.act(name, async (signal) => {
      const { reason } = await this.#send(signal, 'POST', `/v1/tenants/${id}/${name}`)
      return reason
    })
  }

  /** remove asks for a tenant's deletion. */
  async remove(id: string, patienceMs?: number): Promise<Action> {
    const attempt: Try = async (signal) => (await this.#send(signal, 'DELETE', `/v1/tenants/${id}`)).reason
    return this.act('delete', attempt, patienceMs)
  }

  /** settled waits until no job works on the tenant, or it is gone. */
  async settled(name: string, id: string, isSettled: (tenant: TenantState) => boolean, patienceMs?: number) {
    const attempt: Try = async (signal) => {
      for (;;) {
        const { reason, json } = await this.#send(signal, 'GET', `/v1/tenants/${id}`)
        if (reason !== undefined) return reason
        const tenant = json as TenantState
        if (isSettled(tenant)) return undefined
        if (signal.aborted) return `still ${tenant.job?.step ?? tenant.status}`
        await sleep(POLL_MS)
      }
    }
    return this.act(name, attempt, patienceMs)
  }

  async tenants(signal: AbortSignal): Promise<readonly TenantState[]> {
    const found: TenantState[] = []
    let cursor = ''
    for (;;) {
      const { reason, json } = await this.#send(signal, 'GET', `/v1/tenants?limit=100${cursor}`)
      if (reason !== undefined) return found
      const page = json as { records: TenantState[]; next_cursor?: string | null }
      found.push(...page.records)
      if (!page.next_cursor) return found
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`
    }
  }

  #send(signal: AbortSignal, method: string, path: string, body?: object) {
    const { url, key } = this.#options
    return request({ url: `${url}${path}`, method, key, body, signal })
  }
}

/** TenantState is what the service says of a tenant, in part. */
export interface TenantState {
  readonly id: string
  readonly name: string
  readonly status: string
  readonly job: { readonly kind: string; readonly step: string } | null
}
