import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { ChangeFeed, type ChangeFeedOptions } from '../../src/control/change-feed.ts'
import type { ReadChange } from '../../src/control/changes.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'

/** NEVER is an interval that does not come round while a test runs. */
export const NEVER = 3_600_000

/** openControl opens a migrated control database that the test has to itself, with a data server `default`. */
export async function openControl(t: Test): Promise<{ readonly url: string; readonly db: ControlDatabase }> {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url, maxConnections: 8 })
  t.teardown(() => db.close())
  await db.query(sql`
    insert into lessor.servers (name, host, port, database, tls) values ('default', 'localhost', 5432, 'app', 'disable')`)
  return { url, db }
}

/** addTenant makes an active tenant's row and returns its id. */
export async function addTenant(db: Db): Promise<string> {
  const id = randomUUID()
  await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status)
    select ${id}, id, ${id}, ${id}, 'role', 'default', 'active' from lessor.namespaces`)
  return id
}

/** openFeed starts a feed that notes what it is handed; `hold` makes a change wait. */
export async function openFeed(t: Test, db: Db, options: Partial<ChangeFeedOptions> = {}) {
  const seen: ReadChange[] = []
  const reports: bigint[] = []
  const failures: unknown[] = []
  const counts = { resyncs: 0, answers: 0 }
  const held = new Map<bigint, Promise<void>>()
  const feed = new ChangeFeed({
    db,
    clock: systemClock,
    pollMs: NEVER,
    handler: {
      apply(change) {
        seen.push(change)
        return held.get(change.version)
      },
      resync: async () => {
        counts.resyncs += 1
        return []
      },
    },
    outage: {
      failed: (error) => failures.push(error),
      answered: () => {
        counts.answers += 1
      },
    },
    onApplied: (version) => reports.push(version),
    onError: (error) => failures.push(error),
    ...options,
  })
  await feed.start()
  t.teardown(() => feed.stop())
  return {
    feed,
    seen,
    reports,
    failures,
    counts,
    versions: () => seen.map(({ version }) => version),
    /** Makes the change with this version end when the returned function is called. */
    hold(version: bigint): () => void {
      const { promise, resolve } = Promise.withResolvers<void>()
      held.set(version, promise)
      return resolve
    },
  }
}

/** until resolves when a condition holds; asked again and again, since nothing tells of it. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
