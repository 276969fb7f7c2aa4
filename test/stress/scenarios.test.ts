import { access, readdir } from 'node:fs/promises'
import t from 'tap'
import { loadConfig } from '../../src/config.ts'
import { SCENARIOS } from '../../stress/scenarios.ts'

const SCRIPTS = new URL('../../stress/k6/', import.meta.url)
/** What the scripts share. */
const LIBRARY = 'lessor.js'

for (const { name, service } of SCENARIOS) {
  t.test(`the scenario ${name} has its script, and settings that the service takes`, async (t) => {
    await t.resolves(access(new URL(`${name}.js`, SCRIPTS)))
    t.same(loadConfig({ ...service }).warnings, [])
  })
}

t.test('every script is a scenario', async (t) => {
  const scripts = (await readdir(SCRIPTS)).filter((file) => file !== LIBRARY)
  t.same(scripts.sort(), SCENARIOS.map(({ name }) => `${name}.js`).sort())
})
