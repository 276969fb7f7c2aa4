import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { HttpCaller } from '../bench/http-caller.ts'
import { START_ARGUMENTS } from '../bench/stage.ts'
import { type ServerProcess, startServer } from '../server-process.ts'
import { heapBytes, INSPECT } from './inspector.ts'

const LESSOR = fileURLToPath(new URL('../../src/server.ts', import.meta.url))

/** LIST is what is asked for everywhere: ten users, the tenant named by header, and by key under load. */
export const LIST = '/v1/users?page_size=10'
const INTERNAL_LIST = '/v1/internal/users?page_size=10'

/** BenchTenant is a tenant that was onboarded. */
export interface BenchTenant {
  readonly id: string
  readonly key: string
}

export interface ServiceOptions {
  readonly databaseUrl: string
  readonly operatorKey: string
  readonly vaultKeys: string
  readonly folder: string
  /** Of this process; names its log as well. */
  readonly name: string
  readonly environment: Readonly<Record<string, string>>
  /** More arguments for Node, such as --cpu-prof. */
  readonly nodeArguments?: readonly string[]
  readonly signal: AbortSignal
}

/** BenchService is the service in a process of its own, and the operator's calls to it. */
export class BenchService {
  readonly #process: ServerProcess
  readonly #operatorKey: string
  readonly #log: string

  /** start resolves when it listens. @throws Error with what it printed last */
  static async start(options: ServiceOptions): Promise<BenchService> {
    const { databaseUrl, operatorKey, vaultKeys, folder, name, environment, signal } = options
    const log = join(folder, `${name}.log`)
    const process = await startServer({
      script: LESSOR,
      nodeArguments: [...START_ARGUMENTS, INSPECT, ...(options.nodeArguments ?? [])],
      env: {
        PORT: '0',
        DATABASE_URL: databaseUrl,
        OPERATOR_KEY: operatorKey,
        VAULT_KEYS: vaultKeys,
        TRUSTED_NETWORKS: '127.0.0.0/8',
        ...environment,
      },
      folder,
      log,
      signal,
    })
    return new BenchService(process, operatorKey, log)
  }

  private constructor(process: ServerProcess, operatorKey: string, log: string) {
    this.#process = process
    this.#operatorKey = operatorKey
    this.#log = log
  }

  get url(): string {
    return this.#process.url
  }

  get pid(): number {
    return this.#process.pid
  }

  async stop(): Promise<void> {
    await this.#process.stop()
  }

  async onboard(placement: PlacementName, name: string): Promise<BenchTenant> {
    const body = await this.#post('/v1/tenants', { name, placement })
    const { tenant, api_key } = body as { tenant: { id: string }; api_key: { key: string } }
    return { id: tenant.id, key: api_key.key }
  }

  /** onboardBatch makes tenants of placement row in one request, without keys. */
  async onboardBatch(names: readonly string[]): Promise<void> {
    const body = await this.#post('/v1/tenants:batch', { tenants: names.map((name) => ({ name })) })
    const { records } = body as { records: readonly { tenant?: object }[] }
    const made = records.filter(({ tenant }) => tenant !== undefined).length
    if (made !== names.length) throw new Error(`the batch made ${made} of ${names.length} tenants`)
  }

  /** evict lets go of a tenant's pool, if it is resident. */
  async evict({ id }: BenchTenant): Promise<void> {
    const response = await this.#send(`/ops/pools/${id}/evict`)
    const text = await response.text()
    if (!response.ok && response.status !== 404) throw new Error(`the eviction was answered ${text}`)
  }

  /** list asks once for a tenant's users and resolves with how long it took, in milliseconds. */
  async list({ id }: BenchTenant): Promise<number> {
    let took = Number.NaN
    const request = { method: 'GET', url: this.url + INTERNAL_LIST, headers: { 'x-tenant-id': id } }
    const caller = await HttpCaller.start(request, (ms) => {
      took = ms
    })
    await caller.stop()
    return took
  }

  heapBytes(): Promise<number> {
    return heapBytes(this.#log)
  }

  async #post(path: string, body: object): Promise<unknown> {
    const response = await this.#send(path, body)
    const text = await response.text()
    if (!response.ok) throw new Error(`POST ${path} answered ${response.status}: ${text}`)
    return JSON.parse(text)
  }

  #send(path: string, body?: object): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#operatorKey}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
  }
}
