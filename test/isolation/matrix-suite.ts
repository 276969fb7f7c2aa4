import type { Test } from 'tap'
import { IDENTITIES, type IsolationReport } from '../../src/isolation/report.ts'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import type { Stage } from '../../src/isolation/stage.ts'
import { sql } from '../../src/pool/statement.ts'
import { FIXTURE } from './fixture.ts'
import { openHouse } from './placements.ts'
import { stageLimits } from './stages.ts'

/** By what a data server's database is known again: no tenant may read it, or make it another one's. */
const MARK = 'lessor.database_mark'

/** whatGotThrough is one line for each trial and rule that does not hold. */
export function whatGotThrough({ trials, catalogs }: IsolationReport): string[] {
  return [
    ...trials
      .filter(({ holds }) => !holds)
      .map(({ role, identity, object, attack, expected, outcome }) =>
        [role, identity, object, attack, expected, outcome].join(' | '),
      ),
    ...catalogs.flatMap(({ broken }) =>
      broken.map(({ rule, object, problem }) => `${rule}: ${object}, ${problem}`),
    ),
  ]
}

/** sharedMatrix lets a tenant of a placement with shared tables attack another by all that an application may have. */
export async function sharedMatrix(t: Test, name: 'role' | 'row'): Promise<void> {
  const house = await openHouse(t)
  await house.admin.script(FIXTURE)
  // The other colour has the same rights, and is tried where tenants have tables of their own.
  const { roles: all, ...rest } = await house.stage(t, name)
  const stage = { ...rest, roles: all.slice(0, 1) }
  const report = await runIsolation({ stages: [stage], ...stageLimits() })
  t.strictSame(whatGotThrough(report), [])
  t.equal(report.held, true)
  t.strictSame(report.stages[0]?.gaps, [])

  // Every kind of object met attacks as each identity, by each role.
  const roles = new Set(stage.roles.map((role) => role.name))
  for (const object of [
    'app.users',
    'app.notes',
    'app.plans',
    'app.events',
    'app.events_all',
    'app.people',
    'app.names',
    'app.totals',
    'app.tickets',
    'app.notes_number_seq',
    'app.greet(name text)',
    'app.all_names()',
    'app.noted()',
    'app.mood',
    'app.short',
    'app',
    'public',
    'lessor.tenants',
    'lessor.credentials',
    'lessor.installation',
    MARK,
    'lessor.protect(target regclass, verbs text[])',
  ]) {
    const tried = report.trials.filter((trial) => trial.object === object)
    for (const role of roles) {
      for (const identity of IDENTITIES) {
        t.ok(
          tried.some((trial) => trial.role === role && trial.identity === identity),
          `${object} as ${identity} by ${role}`,
        )
      }
    }
  }
  const allowed = report.trials.filter(
    ({ object, attack, identity }) => object === 'app.notes' && attack === 'select' && identity === 'right',
  )
  t.strictSame(new Set(allowed.map(({ outcome }) => outcome)), new Set(['2 own rows']), 'own rows are there')
  for (const attack of [
    'truncate',
    'merge, deleting rows of another tenant',
    'copy from',
    'copy to',
    'lock in share mode',
    'create trigger',
  ]) {
    t.ok(
      report.trials.some((trial) => trial.object === 'app.users' && trial.attack === attack),
      attack,
    )
  }
}

/**
 * ownMatrix lets a tenant with tables of its own attack another: by its first login as everybody there is, by its
 * owner role and by its other login as itself.
 */
export async function ownMatrix(t: Test, name: 'schema' | 'database'): Promise<void> {
  const house = await openHouse(t)
  const stage = await house.stage(t, name)
  const only = (roles: Stage['roles']): Stage => ({ ...stage, roles })
  const reports = [
    await runIsolation({ stages: [only(stage.roles.slice(0, 1))], ...stageLimits() }),
    await runIsolation({ stages: [only(stage.roles.slice(1))], ...stageLimits({ identities: ['right'] }) }),
  ]
  for (const report of reports) {
    t.strictSame(whatGotThrough(report), [])
    t.equal(report.held, true)
  }
  const trials = reports.flatMap((report) => report.trials)
  t.strictSame(new Set(trials.map(({ role }) => role)), new Set(['login', 'blue', 'owner', 'green']))
  t.strictSame(new Set(trials.map(({ identity }) => identity)), new Set(IDENTITIES))
  const hex = (id: string) => id.replaceAll('-', '')
  const theirs = name === 'schema' ? `t_${hex(stage.other.id)}.users` : `database t_${hex(stage.other.id)}`
  t.ok(
    trials.some(({ object }) => object === theirs),
    `${theirs} was tried`,
  )
  // Before PostgreSQL 16 a login has its owner role's rights, and schema lessor is open to who makes tables.
  const [server] = await house.admin.query<{ isOld: boolean }>(
    sql`select current_setting('server_version_num')::integer < 160000 as "isOld"`,
  )
  for (const attack of ['select', 'insert', 'update', 'delete', 'truncate', 'alter owner', 'drop']) {
    const tried = trials.filter((trial) => trial.object === MARK && trial.attack === attack)
    t.strictSame(
      [...new Set(tried.map(({ outcome }) => outcome))].filter((outcome) => !/^refused/.test(outcome)),
      [],
    )
    t.strictSame(
      new Set(tried.map(({ role }) => role)),
      new Set(server?.isOld ? [] : ['blue', 'green']),
      attack,
    )
  }
  const own = name === 'schema' ? `t_${hex(stage.own.id)}.users` : 'app.users'
  const outcomes = trials.filter(({ object, attack }) => object === own && attack === 'select')
  t.strictSame(new Set(outcomes.map(({ outcome }) => outcome)), new Set(['2 own rows']), 'own rows are there')
}
