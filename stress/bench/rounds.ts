import { userListStatement } from '../../src/users/user-store.ts'
import { quiet } from './bench-database.ts'
import type { Load } from './figures.ts'
import { firstPage } from './first-page.ts'
import { putLoad, type Target } from './load.ts'
import type { BenchOptions } from './options.ts'
import { hasPgbench, runPgbench, toScript } from './pgbench.ts'
import { MAX_CONNECTIONS, type Stage } from './stage.ts'

/** CALLERS is how many ask for the list at once. */
export const CALLERS = 64
const PAGE_SIZE = 10
const PATH = `/v1/users?page_size=${PAGE_SIZE}`
const WARM_UP_SECONDS = 3

/** Situation is what else goes on while the list is asked for. */
export type Situation = 'alone' | 'besideSlow'

interface Measurement {
  readonly situation: Situation
  readonly seconds: number
  readonly signal: AbortSignal
}

/** Round is every measurement once. */
export interface Round {
  readonly alone: Pair
  readonly besideSlow: Pair
  /** Transactions a second; undefined when pgbench is not installed. */
  readonly pgbench: number | undefined
}

export interface Pair {
  readonly lessor: Load
  readonly bare: Load
}

/**
 * runRounds measures both servers in turns, each first in every other round, so that what else the
 * machine does hits both alike.
 * @throws Error when the two do not answer the same, AbortError between two measurements when the signal aborts
 */
export async function runRounds(
  stage: Stage,
  { rounds, seconds }: BenchOptions,
  { onProgress, signal }: { readonly onProgress: (text: string) => void; readonly signal: AbortSignal },
): Promise<readonly Round[]> {
  await compareAnswers(stage)
  for (const target of [stage.lessor, stage.bare])
    await measure(stage, target, { situation: 'alone', seconds: WARM_UP_SECONDS, signal })
  const withPgbench = await hasPgbench()
  const done: Round[] = []
  while (done.length < rounds) {
    onProgress(`round ${done.length + 1} of ${rounds}`)
    const lessorFirst = done.length % 2 === 0
    const inTurns = (situation: Situation) => measureBoth(stage, lessorFirst, { situation, seconds, signal })
    done.push({
      alone: await inTurns('alone'),
      besideSlow: await inTurns('besideSlow'),
      pgbench: withPgbench ? await measurePgbench(stage, seconds) : undefined,
    })
  }
  return done
}

async function measureBoth(stage: Stage, lessorFirst: boolean, what: Measurement): Promise<Pair> {
  const first = await measure(stage, lessorFirst ? stage.lessor : stage.bare, what)
  const second = await measure(stage, lessorFirst ? stage.bare : stage.lessor, what)
  return lessorFirst ? { lessor: first, bare: second } : { lessor: second, bare: first }
}

async function measure(stage: Stage, target: Target, what: Measurement): Promise<Load> {
  const { situation, seconds, signal } = what
  signal.throwIfAborted()
  const slowUsers = situation === 'alone' ? [] : stage.seeded.slowUsers
  const load = await putLoad(target, { connections: CALLERS, seconds, slowUsers, path: PATH })
  await quiet(stage.admin, stage.login.user)
  return load
}

function measurePgbench({ tenantId, database, login, folder }: Stage, seconds: number): Promise<number> {
  const statement = userListStatement(tenantId, firstPage(PAGE_SIZE))
  return runPgbench({
    script: toScript(statement),
    database,
    ...login,
    connections: MAX_CONNECTIONS,
    seconds,
    folder,
  })
}

async function compareAnswers({ lessor, bare }: Stage): Promise<void> {
  const [a, b] = await Promise.all([lessor, bare].map(({ url, headers }) => fetch(url + PATH, { headers })))
  const [ours, theirs] = await Promise.all([a?.text(), b?.text()])
  if (a?.status !== 200 || ours !== theirs) throw new Error(`the answers differ:\n${ours}\n${theirs}`)
}
