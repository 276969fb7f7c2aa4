import { setTimeout as sleep } from 'node:timers/promises'
import { loginsOf } from '../placement/all-logins.ts'
import { endSessions, keepOut } from '../placement/tenant-logins.ts'
import type { ScriptDb } from '../pool/statement.ts'

export interface Grace {
  /** What the sessions are needed for; when it is over, be it by a failure, they need no grace. */
  readonly until: Promise<unknown>
  /** Longest time that they are given. */
  readonly graceMs: number
  /** Ends the grace. */
  readonly signal: AbortSignal
}

/**
 * shutOut keeps all logins of a tenant, its visitors' and its migrators' too, from logging in from now on, and ends their
 * sessions when what they are needed for is over or the grace is: the service's and a leaked credential's look the same.
 * @throws Error when a session does not end in time; what the data server throws
 */
export async function shutOut(admin: ScriptDb, tenantId: string, grace: Grace): Promise<void> {
  const names = await loginsOf(admin, tenantId)
  for (const name of names) await keepOut(admin, name)
  if (names.length === 0) return
  await over(grace)
  for (const name of names) await endSessions(admin, name)
}

/** over resolves when the grace is over. Never rejects. */
export async function over({ graceMs, signal, until }: Grace): Promise<void> {
  const done = new AbortController()
  const time = sleep(graceMs, undefined, { signal: AbortSignal.any([signal, done.signal]), ref: false })
  await Promise.race([time, until]).catch(() => {})
  done.abort()
  await time.catch(() => {})
}
