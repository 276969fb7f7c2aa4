import { readFile } from 'node:fs/promises'
import t from 'tap'
import { testApp } from '../support/app.ts'
import { DASHBOARD, OPERATING, RULE_TESTS, RULES, readDashboard, readRules } from '../support/deployed.ts'
import { readExpression } from './promql.ts'
import { scrapeService } from './scrape.ts'

const app = await testApp(t)
// Test files share a server, which is not watched.
app.lessor.watchdog.begin('default', Date.now())
const scrape = await scrapeService(app)
const rules = await readRules(RULES)
const panels = await readDashboard(DASHBOARD)
const page = await readFile(OPERATING, 'utf8')

t.test('every alert names metrics and labels that the service has', async (t) => {
  t.ok(rules.length > 15)
  for (const { alert, expr } of rules) t.strictSame(scrape.problems(expr), [], alert)
})

t.test('every query of the dashboard names metrics and labels that the service has', async (t) => {
  t.ok(panels.length > 30)
  for (const { title, queries } of panels) {
    t.ok(queries.length > 0, `${title} has a query`)
    for (const query of queries) t.strictSame(scrape.problems(query), [], title)
  }
})

t.test('every panel says what it shows, and no two have one title', async (t) => {
  t.strictSame(
    panels.filter(({ description }) => description.length < 20).map(({ title }) => title),
    [],
  )
  t.equal(new Set(panels.map(({ title }) => title)).size, panels.length)
})

t.test('every alert says what to do, and where to read more', async (t) => {
  const anchors = [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading.toLowerCase())
  const tested = await readFile(RULE_TESTS, 'utf8')
  for (const { alert, severity, summary, description, runbook } of rules) {
    t.ok(['critical', 'warning'].includes(severity), `${alert}: ${severity}`)
    t.ok(summary.length > 20 && description.length > 60, `${alert} is explained`)
    t.equal(runbook, `docs/operating.md#${alert.toLowerCase()}`)
    t.ok(anchors.includes(alert.toLowerCase()), `${alert} has its part in docs/operating.md`)
    t.match(tested, new RegExp(`\\b${alert}\\b`), `${alert} has a unit test`)
  }
})

t.test('docs/operating.md lists the metrics of Lessor, all of them and no others', async (t) => {
  const listed = [...page.matchAll(/^\| `(lessor_\w+|http_\w+)/gm)].map(([, name]) => name)
  const served = scrape.names
    .filter((name) => /^(lessor|http)_/.test(name))
    .map((name) => name.replace(/_(bucket|sum|count)$/, ''))
  t.strictSame([...listed].sort(), [...new Set(served)].sort())
})

t.test('the check of an expression finds what is not there', async (t) => {
  for (const [expression, problem] of [
    ['lessor_pool_lease', 'there is no metric lessor_pool_lease'],
    ['rate(lessor_pool_open_seconds[5m])', 'there is no metric lessor_pool_open_seconds'],
    ['lessor_pools{status="ready"}', 'lessor_pools has no label status'],
    ['lessor_pools{state="asleep"}', 'lessor_pools has no state "asleep"'],
    ['lessor_budget_used{kind=~"server|pools"}', 'lessor_budget_used has no kind "pools"'],
    ['sum by (tenant) (lessor_pool_leases{job="lessor"})', 'no metric of it has the label tenant'],
    ['vector(1)', 'no metric in vector(1)'],
  ] as const) {
    t.strictSame(scrape.problems(expression), [problem], expression)
  }
})

t.test('an expression is read to its metrics and labels', async (t) => {
  t.strictSame(
    readExpression('sum by (a, b) (rate(x_total{c="d", e=~"f|g"}[5m])) / ignoring (h) y > 1e6 and z == 0'),
    {
      selectors: [
        {
          metric: 'x_total',
          matchers: [
            { label: 'c', operator: '=', value: 'd' },
            { label: 'e', operator: '=~', value: 'f|g' },
          ],
        },
        { metric: 'y', matchers: [] },
        { metric: 'z', matchers: [] },
      ],
      grouping: ['a', 'b', 'h'],
    },
  )
})
