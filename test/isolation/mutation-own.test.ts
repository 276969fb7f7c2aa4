import './own-server.ts'
import t from 'tap'
import { mutate, score, survivors } from './mutate.ts'
import { openHouse } from './placements.ts'
import { stageLimits } from './stages.ts'

t.test('the proof notices every wall around a tenant’s own schema that is taken down', async (t) => {
  const house = await openHouse(t)
  const stage = await house.stage(t, 'schema')
  const hex = stage.own.id.replaceAll('-', '')
  const killed = await mutate({
    url: house.url,
    stages: [{ ...stage, roles: stage.roles.slice(0, 1) }],
    homes: new Set([`t_${hex}`]),
    parties: { logins: [stage.own.target.user], groups: [`tu_${hex}`], stranger: stage.other.target.user },
    limits: stageLimits(),
    // What is the whole server's is taken down above.
    only: ({ name, text }) => name.includes(hex) || text.includes(hex),
    attacksAfter: () => false,
  })
  t.ok(killed.length > 30, `${killed.length} mutations`)
  t.comment(score(killed))
  t.strictSame(survivors(killed), [], 'nothing survives')
})
