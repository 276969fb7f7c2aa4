import t from 'tap'
import { makeResident, measureRequests } from '../../stress/tenants/requests.ts'
import { scaleTenants } from '../../stress/tenants/run.ts'
import { Side } from '../../stress/tenants/side.ts'
import { testDatabase } from '../support/database.ts'

t.test('two services with few and more tenants are measured in turn', async (t) => {
  const { url } = await testDatabase(t)
  const sides: Side[] = []
  const told: string[] = []
  for (const tenants of [4, 1500]) {
    const side = await Side.open(url, tenants)
    t.teardown(() => side.close())
    sides.push(side)
    const { batches } = await side.onboard((text) => told.push(text))
    t.equal(batches.length, Math.ceil(tenants / 1000))
    t.equal(side.ids.length, tenants)
    await side.fill()
    await makeResident(side)
  }
  t.match(told.at(-1), /1500 of 1500 tenants, \d+\/s/)
  t.strictSame(
    sides.map(({ lessor }) => lessor.pools.sweep({ dryRun: true }).resident),
    [2, 400],
  )
  const cycles = 3
  for (const times of await measureRequests(sides, cycles)) {
    for (const sample of Object.values(times)) {
      t.equal(sample.length, cycles)
      t.ok(sample.every((ms: number) => ms > 0))
    }
  }
})

t.test('arguments that make no sense are refused', async (t) => {
  const written = t.capture(console, 'error')
  for (const args of [['--tenants', 'many'], ['--tenants', '10'], ['--cycles', '0'], ['--nothing']]) {
    t.equal(await scaleTenants(args), 2)
  }
  t.match(written.args()[0]?.[0], /npm run scale -- tenants/)
})
