import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import type { Load } from '../bench/figures.ts'
import { putLoad } from '../bench/load.ts'
import { type PerPlacement, rotated, type Serving, type Tenants } from './house.ts'
import { type BenchTenant, LIST } from './service.ts'
import { sessions } from './sessions.ts'

/** CALLERS is how many ask for a list at once, in both series. */
export const CALLERS = 64
const CALM_LOOKS = 3
const LOOK_MS = 50
const WARM_UP_SECONDS = 1

export interface HotOptions {
  readonly rounds: number
  readonly seconds: number
  /** Tenants that are called at once. */
  readonly at: number
}

/** measureHot puts load on one placement after the other, in each round in another order. */
export async function measureHot(
  serving: Serving,
  tenants: Tenants,
  { rounds, seconds, at }: HotOptions,
): Promise<readonly PerPlacement<Load>[]> {
  const { service, admin, signal, onProgress } = serving
  const who = at === 1 ? 'one tenant' : `${at} tenants at once`
  const load = async (those: readonly BenchTenant[], forSeconds: number) => {
    signal.throwIfAborted()
    const headers = those.map(({ key }) => ({ authorization: `Bearer ${key}` }))
    const target = { name: who, url: service.url, pid: service.pid, headers: {} }
    const measured = await putLoad(target, {
      connections: CALLERS,
      seconds: forSeconds,
      slowUsers: [],
      path: LIST,
      tenants: headers,
      sessions: () => sessions(admin),
    })
    await calm(admin, signal)
    return measured
  }
  onProgress(`load of ${who}: warming up`)
  for (const placement of rotated(0)) await load(tenants[placement].slice(0, at), WARM_UP_SECONDS)
  const done: PerPlacement<Load>[] = []
  while (done.length < rounds) {
    onProgress(`load of ${who}: round ${done.length + 1} of ${rounds}`)
    const loads: Partial<Record<keyof Tenants, Load>> = {}
    for (const placement of rotated(done.length))
      loads[placement] = await load(tenants[placement].slice(0, at), seconds)
    done.push(loads as PerPlacement<Load>)
  }
  return done
}

/** calm resolves when no session of the service has had a statement under way for a moment. */
export async function calm(admin: Sql, signal: AbortSignal): Promise<void> {
  for (let looks = 0; looks < CALM_LOOKS; ) {
    const [row] = await admin`
      select 1 from pg_stat_activity
      where backend_type = 'client backend' and pid <> pg_backend_pid() and state <> 'idle'`
    looks = row === undefined ? looks + 1 : 0
    await sleep(LOOK_MS, undefined, { signal })
  }
}
