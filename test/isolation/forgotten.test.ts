import './own-server.ts'
import t from 'tap'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import type { StageLimits } from '../../src/isolation/stage.ts'
import { like } from '../support/like.ts'
import { whatGotThrough } from './matrix-suite.ts'
import { openHouse } from './placements.ts'
import { stageLimits } from './stages.ts'

/** What is tried where the rest makes no difference. */
const QUICK = {
  identities: ['right'],
  only: ({ schema }) => schema === 'app',
  withoutLogins: true,
} satisfies Partial<StageLimits>

t.test('a new table that nobody has protected fails the proof, granted or not', async (t) => {
  const house = await openHouse(t)
  const stage = await house.stage(t, 'role')
  const run = () => runIsolation({ stages: [stage], ...stageLimits(QUICK) })
  await house.admin.script('create table app.forgotten (id integer primary key, secret text)')
  const forgotten = await run()
  t.equal(forgotten.held, false)
  like(t, whatGotThrough(forgotten), [
    /^tables, views and sequences belong to that role .*: app\.forgotten, /,
    /^row level security .*: app\.forgotten, /,
    ...Array.from(
      { length: 3 },
      () => /^every table can be used .*: app\.forgotten, lessor_\w+ may nothing$/,
    ),
    /^tenant_id is a uuid .*: app\.forgotten, there is no such column$/,
    /^tenant_id stands first .*: app\.forgotten_pkey, it starts with another column$/,
    /^a table’s grants .*: app\.forgotten, lessor_keeper has /,
  ])
  t.equal(forgotten.stages[0]?.failed, 0, 'nobody can get at it so far')

  await house.admin.script('grant select on app.forgotten to lessor_tenant')
  const granted = await run()
  t.equal(granted.held, false)
  t.ok(
    granted.trials.some(
      ({ object, attack, holds }) => object === 'app.forgotten' && attack === 'count' && !holds,
    ),
    'now it can be read',
  )

  // With the column, and rows of everybody: reads show them.
  await house.admin.script(`
    drop table app.forgotten;
    create table app.forgotten (tenant_id uuid not null, id integer, primary key (tenant_id, id));
    grant select, insert on app.forgotten to lessor_tenant`)
  const open = await run()
  const shown = open.trials.filter(({ object, holds }) => object === 'app.forgotten' && !holds)
  t.ok(shown.some(({ outcome }) => outcome === '3 rows of others'))
})

t.test('a table of which no row can be made fails the proof, since it would prove nothing', async (t) => {
  const house = await openHouse(t)
  await house.admin.script(`
    create table app.odd (tenant_id uuid, id integer check (id = 4711 and id % 2 = 0), primary key (tenant_id, id));
    select lessor.protect('app.odd')`)
  const report = await runIsolation({
    stages: [await house.stage(t, 'role')],
    ...stageLimits(QUICK),
  })
  like(t, whatGotThrough(report), [
    / app\.odd \| make a row to protect /,
    ...Array.from(
      { length: 4 },
      () => /^(blue|green) \| right \| app\.odd \| insert .* \| refused \(23514\)$/,
    ),
  ])
})
