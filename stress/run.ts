// Puts load on the real service: npm run stress -- <scenario>; --help lists them.
import { parseArgs } from 'node:util'
import { claimsOf } from './claims.ts'
import { findK6, howToGetK6 } from './find-k6.ts'
import { abortOnSignals } from './interrupt.ts'
import { reportOf } from './report.ts'
import { resultFile, saveResult } from './results.ts'
import { runScenario } from './run-scenario.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'

/** Exit statuses, as --help says them. */
const PASSED = 0
const FAILED = 1
const WRONG_USE = 2
const NO_K6 = 3

process.exitCode = await main(process.argv.slice(2))

async function main(args: string[]): Promise<number> {
  const wish = readWish(args)
  if (wish === undefined) {
    console.log(usage())
    return PASSED
  }
  if (typeof wish === 'string') {
    console.error(`${wish}\n\n${usage()}`)
    return WRONG_USE
  }
  const k6 = await findK6(process.env)
  if (k6 === undefined) {
    console.error(howToGetK6(process.env))
    return NO_K6
  }
  return run(wish, k6)
}

async function run(scenario: Scenario, k6: string): Promise<number> {
  const log = await resultFile(`${scenario.name}.log`)
  const timeout = AbortSignal.timeout(scenario.maxSeconds * 1000)
  const interrupt = abortOnSignals()
  try {
    const figures = await runScenario(scenario, {
      k6,
      log,
      signal: AbortSignal.any([interrupt.signal, timeout]),
    })
    const claims = claimsOf(scenario, figures)
    console.log(reportOf(scenario, figures, claims))
    const file = await saveResult(scenario.name, { settings: scenario, figures, claims })
    console.log(`${file}; the service's log is beside it`)
    return claims.every(({ held }) => held) ? PASSED : FAILED
  } catch (error) {
    if (interrupt.signal.aborted) return interrupt.exitStatus
    const why = timeout.aborted ? `it took longer than ${scenario.maxSeconds} s` : String(error)
    console.error(`${scenario.name} failed: ${why}\nThe service's log: ${log}`)
    return FAILED
  }
}

/** A string says what is wrong with the arguments; undefined is a wish for help. */
function readWish(args: string[]): Scenario | string | undefined {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(args)
  } catch (error) {
    // What parseArgs throws is meant for people.
    return error instanceof Error ? error.message : String(error)
  }
  const { positionals, values } = parsed
  if (values.help) return undefined
  const [name, ...more] = positionals
  if (name === undefined) return 'Name the scenario.'
  if (more.length > 0) return `One scenario at a time: ${positionals.join(', ')} are ${positionals.length}.`
  return SCENARIOS.find((each) => each.name === name) ?? `There is no scenario "${name}".`
}

function parse(args: string[]) {
  return parseArgs({ args, allowPositionals: true, options: { help: { type: 'boolean', default: false } } })
}

function usage(): string {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length))
  const lines = SCENARIOS.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`)
  return [
    'npm run stress -- <scenario>',
    '',
    'Puts load on the real service and judges what came of it. Exit status: 0 every limit was kept, 1 not, 2 wrong use, 3 there is no k6.',
    '',
    ...lines,
  ].join('\n')
}
