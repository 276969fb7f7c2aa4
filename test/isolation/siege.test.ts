import t from 'tap'
import { ATTACKS } from '../../src/isolation/siege/attacks.ts'
import { runSiege } from '../../src/isolation/siege/run-siege.ts'
import { readAll } from '../../src/isolation/siege/watch.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { startTestServer } from '../support/server.ts'
import { besiegedService, SIEGE_SERVER } from './siege.ts'

// Attacks on a server that is full make it unusable for others, so there is one for this file alone.
const server = await startTestServer(SIEGE_SERVER)
t.teardown(() => server.stop())
process.env.TEST_DATABASE_URL = server.url

/** One of each kind: `npm run isolation -- --siege` makes all of them. */
const SELECTION: readonly (readonly [PlacementName, readonly string[]])[] = [
  ['row', ['table-lock']],
  ['role', ['table-lock-by-many', 'password-pinned', 'statistics']],
  ['schema', ['advisory-locks', 'sessions']],
  ['database', ['notify-queue']],
]

for (const [placement, names] of SELECTION) {
  t.test(`${placement}: no login hurts a neighbour or holds up an operator`, async (t) => {
    const besieged = await besiegedService(t)
    const report = await runSiege({
      ...besieged,
      placements: [placement],
      attacks: ATTACKS.filter(({ name }) => names.includes(name)),
      seconds: 2,
      // How fast is for the siege itself to judge; here all has to come to its end.
      patienceMs: 180_000,
      sizes: { tables: 2_000, largeObjects: 3_000 },
      signal: AbortSignal.timeout(600_000),
    })
    t.strictSame(
      report.battles.map(({ attack }) => attack),
      ['calm', ...ATTACKS.map(({ name }) => name).filter((name) => names.includes(name))],
    )
    for (const { attack, neighbours, actions, finding, left } of report.battles) {
      t.strictSame(
        neighbours.map(({ placement, lost, reasons }) => ({ placement, lost, reasons })),
        neighbours.map(({ placement }) => ({ placement, lost: 0, reasons: {} })),
        `${attack}: no request of a neighbour is lost`,
      )
      t.ok(neighbours.length > 0)
      t.ok(
        neighbours.every(({ requests }) => requests > 0),
        `${attack}: each neighbour had answers`,
      )
      t.strictSame(
        actions.filter(({ isDone }) => !isDone),
        [],
        `${attack}: all that the operator did was done`,
      )
      t.equal(finding?.holds ?? true, true, `${attack}: ${finding?.text ?? 'nothing found'}`)
      t.strictSame(left, [], `${attack}: nothing is left behind`)
    }
    t.strictSame(report.left, [])
    const roles = await readAll(
      besieged.superuser,
      `select rolname from pg_roles where rolname ~ '^t[a-z]_' union all select datname from pg_database where datname ~ '^t_'`,
    )
    t.strictSame(roles, [], 'no role and no database of a tenant is left')
  })
}
