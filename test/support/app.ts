import { randomBytes } from 'node:crypto'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { buildApp } from '../../src/app.ts'
import type { Clock } from '../../src/clock.ts'
import { type Environment, loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logger.ts'
import { createLessor, type Lessor } from '../../src/lessor.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from './database.ts'
import { PATIENT } from './patient.ts'
import { UNWATCHED } from './unwatched.ts'

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => Promise<void>): void
}

/** TestTenant is an onboarded tenant and a caller with its key. */
export interface TestTenant {
  readonly id: string
  readonly key: string
  readonly inject: (options: InjectOptions) => Promise<LightMyRequestResponse>
}

/** TestApp is the whole service on a database of its own. */
export interface TestApp {
  readonly app: FastifyInstance
  readonly lessor: Lessor
  readonly databaseUrl: string
  readonly operatorKey: string
  readonly vaultKeys: string
  /** What was logged so far, one parsed line each. */
  logged(): Record<string, unknown>[]
  /** The log as it was written. */
  logText(): string
  /** Calls with the operator key. */
  operator(options: InjectOptions): Promise<LightMyRequestResponse>
  onboard(name?: string): Promise<TestTenant>
  /** Listens on a free port of 127.0.0.1 and resolves with the base URL. */
  listen(): Promise<string>
}

/**
 * testApp builds and starts the service, closed with `t`. `environment` overrides the test's
 * configuration; with a DATABASE_URL in it no database is made.
 */
export async function testApp(
  t: Scope,
  environment: Environment = {},
  { clock }: { readonly clock?: Clock } = {},
): Promise<TestApp> {
  const databaseUrl = environment.DATABASE_URL ?? (await testDatabase(t, { template: 'control' })).url
  const operatorKey = environment.OPERATOR_KEY ?? randomBytes(32).toString('base64url')
  const vaultKeys = environment.VAULT_KEYS ?? generateVaultKeys()
  const config = loadConfig({
    DATABASE_URL: databaseUrl,
    OPERATOR_KEY: operatorKey,
    VAULT_KEYS: vaultKeys,
    CONTROL_MAX_CONNECTIONS: '4',
    ...PATIENT,
    ...UNWATCHED,
    ...environment,
  })
  const lines: string[] = []
  const { logger } = createLogger(config.logLevel, { write: (line) => lines.push(line) })
  const lessor = createLessor(config, { logger, ...(clock && { clock }) })
  const app = await buildApp(lessor)
  t.teardown(async () => {
    await app.close()
  })

  function inject(key: string, options: InjectOptions): Promise<LightMyRequestResponse> {
    return app.inject({ ...options, headers: { authorization: `Bearer ${key}`, ...options.headers } })
  }

  return {
    app,
    lessor,
    databaseUrl,
    operatorKey,
    vaultKeys,
    logged: () => lines.map((line) => JSON.parse(line)),
    logText: () => lines.join(''),
    operator: (options) => inject(operatorKey, options),
    async onboard(name = `tenant-${randomBytes(4).toString('hex')}`) {
      const { tenant, api_key } = await lessor.tenants.onboard({ name })
      return { id: tenant.id, key: api_key.key, inject: (options) => inject(api_key.key, options) }
    },
    listen: () => app.listen({ host: '127.0.0.1', port: 0 }),
  }
}
