import type { ConnectionTarget } from '../pool/contract.ts'
import { Secret } from '../secret.ts'
import { describeOutcome, NO_RIGHT } from './expectation.ts'
import type { Trial } from './report.ts'
import { type Outcome, openSession, outcomeOf, statementOf } from './session.ts'
import type { Stage, StageLimits } from './stage.ts'
import type { Surroundings } from './surroundings.ts'
import { trialOf } from './trial.ts'

/** runLogins tries to get in where the attacker has no business, and by logins that are not his or no more. */
export async function runLogins(
  stage: Stage,
  limits: StageLimits,
  { databases, roles }: Surroundings,
): Promise<readonly Trial[]> {
  const { own, other, gone } = stage
  const { target } = own
  const tries: readonly (readonly [object: string, name: string, target: ConnectionTarget])[] = [
    ...databases
      .filter(({ isOpen }) => !isOpen)
      .map(({ name }) => [`database ${name}`, 'connect', { ...target, database: name }] as const),
    ...roles
      .filter((role) => role !== target.user && !role.startsWith('pg_'))
      .map((user) => [`role ${user}`, 'log in with its own password', { ...target, user }] as const),
    ['role of itself', 'log in with another password', { ...target, password: new Secret('guessed') }],
    ...(gone.target === undefined || gone.target.isShared === true
      ? []
      : ([['the deleted tenant', 'log in as before', gone.target]] as const)),
    ...(other.target.database === target.database
      ? []
      : ([
          ['the other tenant', 'connect to its database', { ...target, database: other.target.database }],
        ] as const)),
  ]
  const trials: Trial[] = []
  for (const [object, attack, each] of tries) {
    const outcome = await logIn(each, limits)
    trials.push(
      trialOf(stage, 'login', object === 'the deleted tenant' ? 'deleted' : 'right', {
        object,
        attack,
        expected: 'refused',
        outcome: describeOutcome(outcome),
        // invalid_authorization_specification, invalid_password, invalid_catalog_name, insufficient_privilege
        holds: outcome.kind === 'refused' && ['28000', '28P01', '3D000', NO_RIGHT].includes(outcome.code),
      }),
    )
  }
  return trials
}

async function logIn(target: ConnectionTarget, limits: StageLimits): Promise<Outcome> {
  return outcomeOf(async () => {
    const session = await openSession(limits.connect, target, limits.connectTimeoutMs)
    await session.close()
    return []
  })
}

/** openVictim keeps a session of the victim open meanwhile, whose last statement held its marker. */
export async function openVictim(
  { other }: Stage,
  limits: StageLimits,
): Promise<{ readonly pid: number | undefined; close(): Promise<void> }> {
  const { target, marker } = other
  // The sessions of one login see each other's statements; the service's own have parameters and no values.
  if (target.isShared === true) return { pid: undefined, close: async () => {} }
  const session = await openSession(limits.connect, target, limits.connectTimeoutMs)
  const rows = await session.db.query<{ pid: number }>(
    statementOf(`select pg_backend_pid() as pid, '${marker}'`),
  )
  return { pid: rows[0]?.pid, close: () => session.close() }
}
