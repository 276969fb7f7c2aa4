import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { sql } from '../../src/pool/statement.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { atOnce } from '../support/at-once.ts'
import { testDatabase } from '../support/database.ts'
import { PATIENT } from '../support/patient.ts'
import { type Service, startService } from '../support/service.ts'

const OPERATOR_KEY = 'operator-key-for-the-tests-0123456789'
/** Connections that all nodes together may have to the data server. */
export const BUDGET = 10
export const LEASE_SECONDS = 3

/** NodeProcess is one real process of the service. */
export interface NodeProcess {
  readonly service: Service
  /** call answers with the status and the parsed body. */
  call(
    method: string,
    path: string,
    options?: { readonly key?: string; readonly body?: object },
  ): Promise<{ readonly status: number; readonly body: Record<string, unknown> }>
}

/** Onboarded is a tenant with the key that opens it. */
export interface Onboarded {
  readonly id: string
  readonly key: string
  readonly keyId: string
}

/** openCluster makes a database for several nodes; none runs yet. */
export async function openCluster(t: Test) {
  const { url } = await testDatabase(t)
  const control = new ControlDatabase({ url, maxConnections: 2 })
  const directory = mkdtempSync(join(tmpdir(), 'lessor-nodes-'))
  const vaultKeys = generateVaultKeys()
  t.teardown(async () => {
    await control.close()
    rmSync(directory, { recursive: true })
  })

  /** Starts a node that remembers tenants and keys for an hour: only the change feed makes it forget. */
  async function start(environment: Readonly<Record<string, string>> = {}): Promise<NodeProcess> {
    const service = startService(t, {
      directory,
      environment: {
        ...PATIENT,
        DATABASE_URL: url,
        OPERATOR_KEY,
        VAULT_KEYS: vaultKeys,
        LOG_LEVEL: 'info',
        CONTROL_MAX_CONNECTIONS: '3',
        SERVER_MAX_CONNECTIONS: String(BUDGET),
        POOL_MAX_CONNECTIONS: '2',
        NODE_LEASE_SECONDS: String(LEASE_SECONDS),
        TENANT_CACHE_SECONDS: '3600',
        API_KEY_CACHE_SECONDS: '3600',
        ...environment,
      },
    })
    const base = await service.listening()
    return {
      service,
      async call(method, path, { key = OPERATOR_KEY, body } = {}) {
        const response = await fetch(base + path, {
          method,
          headers: {
            authorization: `Bearer ${key}`,
            ...(body !== undefined && { 'content-type': 'application/json' }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
        const text = await response.text()
        return { status: response.status, body: text === '' ? {} : JSON.parse(text) }
      },
    }
  }

  return {
    control,
    start,

    async onboard(node: NodeProcess, name: string): Promise<Onboarded> {
      const { status, body } = await node.call('POST', '/v1/tenants', { body: { name } })
      if (status !== 201) throw new Error(`onboarding answered ${status}: ${JSON.stringify(body)}`)
      const { tenant, api_key } = body as { tenant: { id: string }; api_key: { id: string; key: string } }
      return { id: tenant.id, key: api_key.key, keyId: api_key.id }
    },

    /** Resolves with what each live node has been granted, the oldest first. */
    async shares(): Promise<readonly number[]> {
      const rows = await control.query<{ granted: number }>(sql`
        select s.granted from lessor.server_shares s join lessor.nodes n on n.id = s.node_id
        where n.heartbeat_at > clock_timestamp() - ${LEASE_SECONDS} * interval '1 second'
        order by n.started_at`)
      return rows.map(({ granted }) => granted)
    },

    /** Resolves with the connections of tenants that the server has. */
    tenantConnections(): Promise<number> {
      return atOnce(async () => {
        const rows = await control.query<{ pid: number }>(sql`
          select pid from pg_stat_activity
          where datname = current_database() and application_name = 'lessor'`)
        return rows.map(({ pid }) => pid)
      })
    },

    /** Ends all connections that listen, so that no notification is heard. */
    async deafen(): Promise<void> {
      await control.query(sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query ilike 'listen %'`)
    },
  }
}

export type Cluster = Awaited<ReturnType<typeof openCluster>>
