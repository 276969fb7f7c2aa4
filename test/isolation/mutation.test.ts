import './own-server.ts'
import t from 'tap'
import type { Stage } from '../../src/isolation/stage.ts'
import { FIXTURE } from './fixture.ts'
import { mutate, score, survivors } from './mutate.ts'
import { openHouse } from './placements.ts'
import { stageLimits } from './stages.ts'

/** Walls whose fall lets somebody through at once, so that attacks must notice as well as rules do. */
const FELT =
  /^(row level security off|one more policy|all for everybody|truncate for lessor_tenant) on app\.users$|^tb_\w+ (with (bypassrls|superuser)|in pg_read_all_data)$/

/** What is like something else that is tried here; `npm run isolation -- --mutate` takes them all, with attacks after each. */
const LEFT_OUT =
  / on app\.(notes|plans|events)$|^select on lessor\.(?!tenants|credentials)|^lessor\.(?!protect|stays|own_migrations)\w+\(| with (createrole|createdb|replication)$| in pg_(write_all_data|monitor)$/

function firstRole(stage: Stage): Stage {
  return { ...stage, roles: stage.roles.slice(0, 1) }
}

t.test('the proof notices every wall of the shared tables that is taken down', async (t) => {
  const house = await openHouse(t)
  await house.admin.script(FIXTURE)
  const [role, row] = [await house.stage(t, 'role'), await house.stage(t, 'row')]
  const killed = await mutate({
    url: house.url,
    stages: [firstRole(role), firstRole(row)],
    homes: new Set(['app']),
    parties: {
      logins: [role.own.target.user, row.own.target.user],
      groups: ['lessor_tenant', 'lessor_row'],
      stranger: role.other.target.user,
    },
    limits: stageLimits(),
    only: ({ name }) => !LEFT_OUT.test(name),
    attacksAfter: ({ name }) => FELT.test(name),
  })
  t.ok(killed.length > 100, `${killed.length} mutations`)
  t.comment(score(killed))
  t.strictSame(survivors(killed), [], 'nothing survives')
  const felt = killed.filter(({ mutation }) => FELT.test(mutation))
  t.ok(felt.length >= 6, `${felt.length} of them open the way`)
  t.strictSame(
    felt.filter(({ attacks }) => attacks.length === 0).map(({ mutation }) => mutation),
    [],
    'attacks notice',
  )
})
