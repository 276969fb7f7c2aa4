import t from 'tap'
import { until } from '../control/helpers.ts'
import { excludes, rejectsLike } from '../support/like.ts'
import { openCluster } from './cluster.ts'

const K1 = `k1:${'1a'.repeat(32)}`
const K2 = `k2:${'2b'.repeat(32)}`

t.test('a node that lacks the key that another begins to seal with says so and is not ready', async (t) => {
  const cluster = await openCluster(t)
  const [lacking, having] = [
    await cluster.start({ VAULT_KEYS: K1 }),
    await cluster.start({ VAULT_KEYS: `${K1},${K2}` }),
  ]
  for (const node of [lacking, having]) t.equal((await node.call('GET', '/readyz')).status, 200)
  const sealing = await cluster.start({ VAULT_KEYS: `${K2},${K1}` })
  await until(async () => (await lacking.call('GET', '/readyz')).status === 503, 'it has heard')
  const { body } = await lacking.call('GET', '/readyz')
  t.strictSame(body.reasons, ['VAULT_KEYS lacks a key that is in use; the log names it'])
  const said = lacking.service.logged().filter(({ keyIds }) => keyIds !== undefined)
  t.strictSame(
    said.map(({ level, keyIds }) => [level, keyIds]),
    [[50, ['k2']]],
  )
  excludes(t, lacking.service.stdout(), /(1a|2b){8}/)
  t.equal((await lacking.call('GET', '/livez')).status, 200)
  for (const node of [having, sealing]) t.equal((await node.call('GET', '/readyz')).status, 200)

  await cluster.onboard(sealing, 'acme')
  lacking.service.kill('SIGTERM')
  t.equal(await lacking.service.exited, 0)
  await rejectsLike(t, cluster.start({ VAULT_KEYS: K1 }), { message: /VAULT_KEYS lacks the key "k2"/ })
})
