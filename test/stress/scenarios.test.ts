import { access, readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import { loadConfig } from '../../src/config.ts'
import { SCENARIOS } from '../../stress/scenarios.ts'
import { includes } from '../support/like.ts'

const SCRIPTS = new URL('../../stress/k6/', import.meta.url)
/** What the scripts share. */
const LIBRARY = 'lessor.js'

for (const { name, service, script } of SCENARIOS) {
  t.test(`the scenario ${name} has its script, and settings that the service takes`, async (t) => {
    await t.resolves(access(new URL(`${name}.js`, SCRIPTS)))
    t.strictSame(loadConfig({ ...service }).warnings, [])
  })

  t.test(
    `the script ${name} reads what the scenario sets, and has thresholds that fail the run`,
    async (t) => {
      const text = await readFile(new URL(`${name}.js`, SCRIPTS), 'utf8')
      const read = [...text.matchAll(/integer\('(\w+)'\)/g)].map(([, variable]) => variable)
      t.strictSame([...new Set(read)].sort(), Object.keys(script).sort())
      for (const value of Object.values(script)) t.match(value, /^\d+$/)
      t.match(text, /thresholds: \{\s*checks: \['rate==1'\]/)
      includes(t, text, "export { handleSummary } from './lessor.js'")
      includes(t, text, 'summaryTrendStats: TREND_STATS')
    },
  )
}

t.test('the metrics that scripts add are read by their names', async (t) => {
  const texts = await Promise.all(
    SCENARIOS.map(({ name }) => readFile(new URL(`${name}.js`, SCRIPTS), 'utf8')),
  )
  const added = texts.flatMap((text) => [...text.matchAll(/new (?:Counter|Gauge|Trend|Rate)\(['`](\w+)/g)])
  t.ok(added.length >= 10)
  for (const [, metric] of added) t.match(metric, /^own_/)
})

t.test('every script is a scenario', async (t) => {
  const scripts = (await readdir(SCRIPTS)).filter((file) => file !== LIBRARY)
  t.strictSame(scripts.sort(), SCENARIOS.map(({ name }) => `${name}.js`).sort())
})
