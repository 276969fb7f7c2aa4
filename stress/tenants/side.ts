import { randomBytes } from 'node:crypto'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logger.ts'
import { createLessor, type Lessor } from '../../src/lessor.ts'
import { sql } from '../../src/pool/statement.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { databaseUrl, withAdmin } from '../../test/support/template.ts'

/** As many ids are remembered, spread evenly. */
const REMEMBERED = 20_000
const BATCH = 1000
/** As `lessor tenants create` does. */
const BATCHES_AT_ONCE = 2

/** Onboarding is how long each batch took, in milliseconds, and all of them together. */
export interface Onboarding {
  readonly batches: readonly number[]
  readonly ms: number
}

/** Side is a service of its own with so many `row` tenants, on a database of its own. */
export class Side {
  readonly lessor: Lessor
  readonly tenants: number
  readonly #server: string
  readonly #database: string
  readonly #ids: string[] = []
  readonly #tellEvery: number

  private constructor(lessor: Lessor, server: string, database: string, tenants: number) {
    this.lessor = lessor
    this.#server = server
    this.#database = database
    this.tenants = tenants
    this.#tellEvery = Math.max(1, Math.floor(tenants / 10 / BATCH))
  }

  /** open makes a database on the server and starts a service on it. */
  static async open(server: string, tenants: number): Promise<Side> {
    const name = `lessor_scale_${randomBytes(4).toString('hex')}`
    await withAdmin(server, (admin) => admin`create database ${admin(name)} template template0`)
    const config = loadConfig({
      DATABASE_URL: databaseUrl(server, name),
      OPERATOR_KEY: randomBytes(32).toString('base64url'),
      VAULT_KEYS: generateVaultKeys(),
      LOG_LEVEL: 'warn',
    })
    const lessor = createLessor(config, { logger: createLogger(config.logLevel).logger })
    const side = new Side(lessor, server, name, tenants)
    try {
      await lessor.start()
      return side
    } catch (error) {
      await side.close()
      throw error
    }
  }

  /** Ids of its tenants, not in the order in which they were made. */
  get ids(): readonly string[] {
    return this.#ids
  }

  /** close ends the service and drops the database. */
  async close(): Promise<void> {
    await this.lessor.close()
    await withAdmin(this.#server, (admin) => admin`drop database ${admin(this.#database)} with (force)`)
  }

  /** onboard makes the tenants, in batches of a thousand. */
  async onboard(tell: (text: string) => void): Promise<Onboarding> {
    const start = performance.now()
    const batches: number[] = []
    const step = Math.max(1, Math.floor(this.tenants / REMEMBERED))
    let next = 0
    const work = async () => {
      while (next < this.tenants) {
        const from = next
        next += Math.min(BATCH, this.tenants - from)
        const tenants = Array.from({ length: next - from }, (_, n) => ({ name: `tenant ${from + n}` }))
        const begun = performance.now()
        const records = await this.lessor.tenants.onboardBatch({ tenants })
        batches.push(performance.now() - begun)
        for (const [n, record] of records.entries()) {
          if (!('tenant' in record))
            throw new Error(`tenant ${from + n} was not made: ${record.error.detail}`)
          if ((from + n) % step === 0) this.#ids.push(record.tenant.id)
        }
        if (batches.length % this.#tellEvery === 0) {
          const rate = (batches.length * BATCH * 1000) / (performance.now() - start)
          tell(
            `${Math.min(batches.length * BATCH, this.tenants)} of ${this.tenants} tenants, ${Math.round(rate)}/s`,
          )
        }
      }
    }
    await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, work))
    return { batches, ms: performance.now() - start }
  }

  /** fill gives each tenant a row in the shared table, and brings statistics up to date as autovacuum would. */
  async fill(): Promise<void> {
    const admin = await this.lessor.servers.admin('default')
    await admin.transaction(async (tx) => {
      await tx.query(sql`set local statement_timeout = 0`)
      await tx.query(sql`
        insert into app.users (tenant_id, first_name, last_name)
        select id, 'Ada', 'Lovelace' from lessor.tenants`)
    })
    await admin.script('vacuum analyze app.users')
    await admin.script('vacuum analyze lessor.tenants')
  }
}
