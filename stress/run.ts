// Puts load on the real service: npm run stress -- <scenario>. Without a name it lists the scenarios.
import { parseArgs } from 'node:util'
import { claimsOf } from './claims.ts'
import { findK6, howToGetK6 } from './find-k6.ts'
import { abortOnSignals } from './interrupt.ts'
import { reportOf } from './report.ts'
import { resultFile, saveResult } from './results.ts'
import { runScenario } from './run-scenario.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'

/** Exit statuses; `.ci/run` tells a missing k6 from a failure. */
const PASSED = 0
const FAILED = 1
const WRONG_USE = 2
const NO_K6 = 3

process.exitCode = await main(process.argv.slice(2))

async function main(args: string[]): Promise<number> {
  const name = parseName(args)
  const scenario = SCENARIOS.find((each) => each.name === name)
  if (scenario === undefined) {
    console.log(usage())
    return name === undefined ? PASSED : WRONG_USE
  }
  const k6 = await findK6(process.env)
  if (k6 === undefined) {
    console.error(howToGetK6(process.env))
    return NO_K6
  }
  return run(scenario, k6)
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

function parseName(args: string[]): string | undefined {
  const { positionals } = parseArgs({ args, allowPositionals: true, strict: false })
  return positionals[0]
}

function usage(): string {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length))
  const lines = SCENARIOS.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`)
  return ['npm run stress -- <scenario>', '', ...lines].join('\n')
}
