import './own-server.ts'
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import { whatGotThrough } from './matrix-suite.ts'
import { openHouse } from './placements.ts'
import { stageLimits } from './stages.ts'

/** The tables of docs/legacy.md, whose keys are numbers that all tenants count from one. */
const [, tables = ''] =
  /^```sql\n(create table pgbench[\s\S]*?)^```/m.exec(await readFile('docs/legacy.md', 'utf8')) ?? []

const BRANCHES = 'app.pgbench_branches'

t.test(
  'tables whose keys are the same numbers for all tenants are no hole, and a key that all share is one',
  async (t) => {
    const house = await openHouse(t)
    await house.admin.script(`set search_path = app; ${tables}; reset search_path`)
    const stage = await house.stage(t, 'role')
    const run = () =>
      runIsolation({
        stages: [stage],
        ...stageLimits({
          identities: ['right'],
          only: ({ schema }) => schema === 'app',
          withoutLogins: true,
        }),
      })
    const report = await run()
    t.strictSame(whatGotThrough(report), [])
    const attack = 'insert the key of another tenant for itself'
    t.ok(report.trials.some((trial) => trial.object === BRANCHES && trial.attack === attack && trial.holds))

    await house.admin.script(`truncate ${BRANCHES}; create unique index shared_by_all on ${BRANCHES} (bid)`)
    const broken = await run()
    t.equal(broken.held, false)
    t.ok(
      whatGotThrough(broken).some((line) =>
        line.endsWith('app.shared_by_all, it starts with another column'),
      ),
      'a tenant would learn which keys others have',
    )
  },
)
