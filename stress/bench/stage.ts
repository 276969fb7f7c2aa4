import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres, { type Sql } from 'postgres'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { startTestServer } from '../../test/support/server.ts'
import { startServer } from '../server-process.ts'
import { type Seeded, seed, type TenantLogin, tenantLogin } from './bench-database.ts'
import type { Target } from './load.ts'

const LESSOR = fileURLToPath(new URL('../../src/server.ts', import.meta.url))
const BARE = fileURLToPath(new URL('bare-app.ts', import.meta.url))
const DATABASE = 'bench'

/** START_ARGUMENTS is what `npm start` gives to Node. */
export const START_ARGUMENTS = ['--max-semi-space-size=64']

/** MAX_CONNECTIONS is how many the tenant has in either server, and pgbench. */
export const MAX_CONNECTIONS = 4

/** Stage is all that is measured, up and running on one database. */
export interface Stage {
  readonly lessor: Target
  readonly bare: Target
  readonly admin: Sql
  readonly database: { readonly host: string; readonly port: number; readonly name: string }
  readonly tenantId: string
  readonly login: TenantLogin
  readonly seeded: Seeded
  /** For files that go with the stage. */
  readonly folder: string
}

export interface StageOptions {
  /** More arguments for Node in the process of Lessor, such as --cpu-prof. */
  readonly nodeArguments?: readonly string[]
  readonly signal: AbortSignal
}

/** setStage starts the database and both servers; what was started ends with `resources`. */
export async function setStage(resources: AsyncDisposableStack, options: StageOptions): Promise<Stage> {
  const { nodeArguments = [], signal } = options
  const folder = await mkdtemp(join(tmpdir(), 'lessor-bench-'))
  resources.defer(() => rm(folder, { recursive: true, force: true }))
  const server = await startTestServer()
  resources.defer(() => server.stop())
  const admin = await makeDatabase(server.url, resources)
  const vaultKeys = generateVaultKeys()
  const operatorKey = randomBytes(32).toString('base64url')

  const lessor = await startServer({
    script: LESSOR,
    nodeArguments: [...START_ARGUMENTS, ...nodeArguments],
    env: {
      PORT: '0',
      DATABASE_URL: databaseUrl(server.url),
      OPERATOR_KEY: operatorKey,
      VAULT_KEYS: vaultKeys,
      POOL_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
    },
    folder,
    log: join(folder, 'lessor.log'),
    signal,
  })
  resources.adopt(lessor, async ({ stop }) => void (await stop()))
  const { tenantId, key } = await onboard(lessor.url, operatorKey)
  const seeded = await seed(admin, tenantId)
  const login = await tenantLogin(admin, tenantId, vaultKeys)

  const bareUrl = new URL(databaseUrl(server.url))
  bareUrl.username = login.user
  bareUrl.password = login.password
  const bare = await startServer({
    script: BARE,
    env: { DATABASE_URL: bareUrl.href, TENANT_ID: tenantId, MAX_CONNECTIONS: String(MAX_CONNECTIONS) },
    folder,
    log: join(folder, 'bare.log'),
    signal,
  })
  resources.adopt(bare, async ({ stop }) => void (await stop()))
  return {
    lessor: { name: 'Lessor', url: lessor.url, pid: lessor.pid, headers: { authorization: `Bearer ${key}` } },
    bare: { name: 'the bare app', url: bare.url, pid: bare.pid, headers: {} },
    admin,
    database: { host: bareUrl.hostname, port: Number(bareUrl.port), name: DATABASE },
    tenantId,
    login,
    seeded,
    folder,
  }
}

async function makeDatabase(serverUrl: string, resources: AsyncDisposableStack): Promise<Sql> {
  const server = postgres(serverUrl, { max: 1 })
  await server`create database ${server(DATABASE)}`
  await server.end()
  const admin = postgres(databaseUrl(serverUrl), { max: 1, onnotice: () => {} })
  resources.defer(() => admin.end({ timeout: 1 }))
  return admin
}

function databaseUrl(serverUrl: string): string {
  const url = new URL(serverUrl)
  url.pathname = `/${DATABASE}`
  return url.href
}

async function onboard(url: string, operatorKey: string): Promise<{ tenantId: string; key: string }> {
  const response = await fetch(`${url}/v1/tenants`, {
    method: 'POST',
    headers: { authorization: `Bearer ${operatorKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'bench' }),
  })
  if (response.status !== 201)
    throw new Error(`onboarding answered ${response.status}: ${await response.text()}`)
  const onboarded = (await response.json()) as { tenant: { id: string }; api_key: { key: string } }
  return { tenantId: onboarded.tenant.id, key: onboarded.api_key.key }
}
