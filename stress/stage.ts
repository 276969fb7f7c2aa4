import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import type { RunnerDatabase } from './runner-database.ts'
import type { ServerProcess } from './server-process.ts'
import type { ServiceWatch } from './service-watch.ts'

const LOOK_MS = 50

/** Stage is what a scenario can lay hands on while it runs. */
export interface Stage {
  readonly service: ServerProcess
  readonly watch: ServiceWatch
  /** The database, as its superuser; one session, reopened when it is lost. */
  readonly sql: Sql
  /** The server, where it is the runner's. */
  readonly database: RunnerDatabase | undefined
  /** File that holds the service's log. */
  readonly log: string
  readonly signal: AbortSignal
}

/**
 * loadBegan resolves when k6 is through with onboarding and its callers write: their users' last names
 * begin with "caller". @throws AbortError when the signal aborts
 */
export async function loadBegan({ sql, signal }: Stage): Promise<void> {
  for (;;) {
    const [row] = await sql`select 1 from app.users where last_name like 'caller %' limit 1`
    if (row !== undefined) return
    await sleep(LOOK_MS, undefined, { signal })
  }
}
