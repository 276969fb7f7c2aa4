import type { FuzzResult, Round } from './fuzz.ts'

/** roundLine says in one line how a round has gone. */
export function roundLine(round: Round): string {
  const { seed, placement, connections, plan, statements, ms, findings } = round
  const rate = Math.round(statements / (ms / 1000))
  const scarce = plan.isScarce ? ', scarce' : ''
  const verdict = findings.total === 0 ? 'all right' : `${findings.total} WRONG`
  return `seed ${seed}: ${placement}, ${connections} connections${scarce}, ${statements} statements, ${rate}/s: ${verdict}`
}

/** findingLines shows what must not be, with how to repeat it. */
export function findingLines(round: Round): readonly string[] {
  const { seed, placement, connections, callers, statements, findings, plan, families = [] } = round
  const only = families.map((family) => ` --family ${family}`).join('')
  if (findings.total === 0) return []
  return [
    `  again: npm run fuzz -- --seed ${seed} --rounds 1 --placement ${placement} --connections ${connections} --callers ${callers} --statements ${statements}${only}`,
    `  families: ${plan.families.join(', ')}`,
    ...findings.counts.map(([name, count]) => `  ${String(count).padStart(7)}  ${name}`),
    ...findings.kept.flatMap(({ sort, kind, what, around }) => [
      `  - ${sort}: ${kind}: ${what}`,
      ...around.map((line) => `      ${line}`),
    ]),
  ]
}

/** outcomeLines counts what each kind has come to. */
export function outcomeLines({ outcomes }: FuzzResult): readonly string[] {
  return [...outcomes]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([kind, counts]) => {
      const all = [...counts].sort(([, a], [, b]) => b - a).map(([outcome, count]) => `${outcome} ${count}`)
      return `  ${kind}: ${all.join(', ')}`
    })
}

/** totalLine is the last word. */
export function totalLine({ statements, ms, rounds }: FuzzResult): string {
  const wrong = rounds.reduce((sum, { findings }) => sum + findings.total, 0)
  const seconds = ms / 1000
  return `${statements} statements in ${seconds.toFixed(1)} s (${Math.round(statements / seconds)}/s), ${wrong} of them wrong`
}
