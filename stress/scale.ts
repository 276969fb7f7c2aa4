// Measures what ten thousand resident tenants cost one process (npm run scale), and what a million cost that
// share their tables (npm run scale -- tenants).
import { parseDatabaseUrl } from '../src/control/database-url.ts'
import type { ConnectionTarget } from '../src/pool/contract.ts'
import { startTestServer } from '../test/support/server.ts'
import { saveResult } from './results.ts'
import { measureColdOpen } from './scale/cold-open.ts'
import { measureCycles, measureRealCycles } from './scale/cycles.ts'
import { House } from './scale/house.ts'
import { measureLookUp } from './scale/look-up.ts'
import { isMet, type Measurement, tableOf } from './scale/measurement.ts'
import { measureResidents } from './scale/residents.ts'
import { measureSweep } from './scale/sweep.ts'
import { scaleTenants } from './tenants/run.ts'

const NUMBERS = { residents: 10_000, connected: 80 }
const FEW = 10
const CYCLES = { first: 20_000, last: 100_000 }
const REAL_CYCLES = { first: 400, last: 1_200 }
const COLD = 500

const [subcommand, ...args] = process.argv.slice(2)
process.exitCode = subcommand === 'tenants' ? await scaleTenants(args) : await main()

async function main(): Promise<number> {
  await using resources = new AsyncDisposableStack()
  const server = await startTestServer()
  resources.defer(() => server.stop())
  const login = loginAt(server.url)
  const measurements: Measurement[] = []
  const add = (more: readonly Measurement[]) => measurements.push(...more)

  await warmUp(login)
  const house = new House(NUMBERS.residents, { login, isReal: (n) => n < NUMBERS.connected })
  resources.defer(async () => void (await house.registry.close()))
  add(await measureResidents(house, NUMBERS))
  add(measureSweep(house.registry))
  const small = new House(FEW)
  resources.defer(async () => void (await small.registry.close()))
  await small.open(0, FEW)
  await small.disconnect()
  add(
    await measureLookUp(
      { registry: house.registry, residents: NUMBERS.residents },
      { registry: small.registry, residents: FEW },
    ),
  )
  await house.registry.close()
  add(await measureCycles(CYCLES))
  add(await measureRealCycles(REAL_CYCLES, login))
  add(await measureColdOpen(COLD, login))

  console.log(`\n${tableOf(measurements)}\n`)
  console.log(await saveResult('scale', { measurements: measurements.map((m) => ({ ...m, met: isMet(m) })) }))
  return measurements.every(isMet) ? 0 : 1
}

/** Code that runs for the first time is compiled, and the driver fills its caches. */
async function warmUp(login: ConnectionTarget): Promise<void> {
  const house = new House(200, { login, isReal: (n) => n < 20 })
  await house.open(0, 200)
  await house.disconnect()
  await house.registry.close()
}

function loginAt(url: string): ConnectionTarget {
  return { ...parseDatabaseUrl(url), server: 'real', parameters: { application_name: 'lessor' } }
}
