import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** RULES, RULE_TESTS and DASHBOARD are the files that operators deploy, OPERATING is the page that explains them. */
export const RULES = at('deploy/prometheus/lessor.rules.yml')
export const RULE_TESTS = at('deploy/prometheus/lessor.rules.test.yml')
export const DASHBOARD = at('deploy/grafana/lessor.json')
export const OPERATING = at('docs/operating.md')

/** Panel is one panel of the dashboard that shows something. */
export interface Panel {
  readonly title: string
  readonly description: string
  readonly queries: readonly string[]
}

interface PanelJson {
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly targets?: readonly { readonly expr: string }[]
}

/** readDashboard reads the panels of a dashboard, rows left out. */
export async function readDashboard(file: string): Promise<readonly Panel[]> {
  const { panels }: { panels: readonly PanelJson[] } = JSON.parse(await readFile(file, 'utf8'))
  return panels
    .filter(({ type }) => type !== 'row')
    .map(({ title, description = '', targets = [] }) => ({
      title,
      description,
      queries: targets.map(({ expr }) => expr),
    }))
}

/** AlertRule is one rule of the rules' file, as text. */
export interface AlertRule {
  readonly alert: string
  readonly expr: string
  readonly severity: string
  readonly summary: string
  readonly description: string
  readonly runbook: string
}

/**
 * readRules reads the alert rules, in the form that this file has: each field on a line of its own,
 * `expr` there or in the deeper lines below. What YAML makes of it all promtool checks.
 * @throws Error when a rule has not every field
 */
export async function readRules(file: string): Promise<readonly AlertRule[]> {
  const text = await readFile(file, 'utf8')
  return text
    .split(/^ {6}- alert: /m)
    .slice(1)
    .map((rule) => {
      const alert = rule.slice(0, rule.indexOf('\n'))
      const field = (name: string): string => {
        const [, value] =
          new RegExp(`^ +${name}: (?:\\|\\n((?: {10}.*\\n)+)|(.+))`, 'm').exec(rule)?.filter(Boolean) ?? []
        if (value === undefined) throw new Error(`${alert} has no ${name}`)
        return value.trim()
      }
      return {
        alert,
        expr: field('expr'),
        severity: field('severity'),
        summary: field('summary'),
        description: field('description'),
        runbook: field('runbook'),
      }
    })
}
