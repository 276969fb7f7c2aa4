import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { readObjects } from '../../src/isolation/catalog-objects.ts'
import { checkCatalog } from '../../src/isolation/check-catalog.ts'
import type { IsolationReport } from '../../src/isolation/report.ts'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import { statementOf } from '../../src/isolation/session.ts'
import type { Stage, StageLimits } from '../../src/isolation/stage.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { type Mutation, mutationsOf, type Parties } from './mutations.ts'
import { OneTransaction } from './one-transaction.ts'

/** Killed says what of the proof failed once a wall was weakened. */
export interface Killed {
  readonly mutation: string
  /** Rules over the catalog that no longer held. */
  readonly rules: readonly string[]
  /** Attacks that got through. */
  readonly attacks: readonly string[]
}

export interface MutateOptions {
  /** Of a superuser, in the database of the stages' tables. */
  readonly url: string
  readonly stages: readonly Stage[]
  /** Schemas of those tables. */
  readonly homes: ReadonlySet<string>
  readonly parties: Parties
  readonly limits: StageLimits
  /** Which mutations; all, without it. */
  readonly only?: (mutation: Mutation) => boolean
  /** After which of them attacks are tried as well; all, without it. */
  readonly attacksAfter?: (mutation: Mutation) => boolean
  readonly onMutation?: (done: number, total: number) => void
}

/**
 * mutate weakens one wall after the other, each in a transaction that is rolled back, runs the proof inside of
 * that transaction, and tells what of it failed. The proof holds before.
 * @throws Error when the proof does not hold as it is, or a mutation cannot be made
 */
export async function mutate(options: MutateOptions): Promise<readonly Killed[]> {
  const { stages, homes, limits } = options
  const { host, port, database, tls, user, password } = parseDatabaseUrl(options.url)
  const target = { server: 'default', host, port, database, tls, user, password, parameters: {} }
  const connection = await openConnection(target, limits.signal)
  try {
    const one = new OneTransaction(connection)
    const prove = (schema: string) =>
      runIsolation({
        ...limits,
        connect: one.connect,
        withoutLogins: true,
        identities: ['right'],
        only: (object) => homes.has(object.schema) || object.schema === schema,
        stages: stages.map((stage) => ({ ...stage, inTables: (fn) => fn(one.admin) })),
      })
    // Makes the rows, which stay: the mutated proofs find them.
    assertHeld(
      await runIsolation({
        ...limits,
        identities: ['right'],
        only: () => false,
        withoutLogins: true,
        stages,
      }),
    )
    assertHeld(await one.during(() => prove('')))

    const mutations = await one.during(async () =>
      mutationsOf(one.admin, await readObjects(one.admin), homes, options.parties),
    )
    const chosen = mutations.filter(options.only ?? (() => true))
    const killed: Killed[] = []
    const ids = stages.flatMap(({ own, other }) => [own.id, other.id]).map((id) => id.replaceAll('-', ''))
    for (const mutation of chosen) {
      const report = await one.during(async () => {
        await one.admin.query(statementOf(mutation.text))
        if (options.attacksAfter?.(mutation) !== false) return prove(mutation.schema)
        return { trials: [], catalogs: [await checkCatalog(one.admin, 'default', ids)] }
      })
      killed.push({ mutation: mutation.name, rules: brokenRules(report), attacks: gotThrough(report) })
      options.onMutation?.(killed.length, chosen.length)
    }
    return killed
  } finally {
    connection.destroy()
  }
}

/** survivors is the mutations that nothing has noticed. */
export function survivors(killed: readonly Killed[]): readonly string[] {
  return killed
    .filter(({ rules, attacks }) => rules.length === 0 && attacks.length === 0)
    .map(({ mutation }) => mutation)
}

/** score says how many were noticed, and by what. */
export function score(killed: readonly Killed[]): string {
  const noticed = killed.length - survivors(killed).length
  const felt = killed.filter(({ attacks }) => attacks.length > 0).length
  const percent = killed.length === 0 ? 0 : Math.floor((100 * noticed) / killed.length)
  return `${noticed} of ${killed.length} weakened walls noticed (${percent} per cent), ${felt} of them by attacks`
}

function assertHeld(report: IsolationReport): void {
  if (report.held) return
  throw new Error(
    `the proof does not hold as it is: ${[...brokenRules(report), ...gotThrough(report)].join('; ')}`,
  )
}

function brokenRules({ catalogs }: Pick<IsolationReport, 'catalogs'>): readonly string[] {
  return catalogs.flatMap(({ broken }) =>
    broken.map(({ rule, object, problem }) => `${rule}: ${object}, ${problem}`),
  )
}

function gotThrough({ trials }: Pick<IsolationReport, 'trials'>): readonly string[] {
  return trials
    .filter(({ holds }) => !holds)
    .map(
      ({ placement, identity, object, attack, outcome }) =>
        `${placement}, ${identity}: ${attack} ${object}: ${outcome}`,
    )
}
