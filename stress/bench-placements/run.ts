import { fileURLToPath } from 'node:url'
import { abortOnSignals } from '../interrupt.ts'
import { saveResult } from '../results.ts'
import { checkPage, writeDocs } from './docs.ts'
import { measureFirstRequests } from './first-request.ts'
import { measureFleet } from './fleet-time.ts'
import { measureDisk, measureFootprints } from './footprint.ts'
import { measureHot } from './hot.ts'
import { buildHouse, type HouseOptions } from './house.ts'
import { onboardAll } from './onboarding.ts'
import {
  BenchUsageError,
  MANY,
  PLACEMENTS_USAGE,
  type PlacementsOptions,
  parsePlacementsArgs,
} from './options.ts'
import { type Measured, placementsOutcome } from './outcome.ts'
import { printedOutcome } from './print.ts'
import { seed } from './seed.ts'
import { MANY_TENANTS, ONE_TENANT } from './settings.ts'

const PAGE = fileURLToPath(new URL('../../docs/placements.md', import.meta.url))
/** First requests of each placement, for each round. */
const FIRST_REQUESTS = 6

/** benchPlacements is `npm run bench -- placements`; resolves with the exit status. */
export async function benchPlacements(args: readonly string[]): Promise<number> {
  const options = read(args)
  if (typeof options === 'number') return options
  const interrupt = abortOnSignals()
  const onProgress = (text: string) => console.log(`${new Date().toISOString().slice(11, 19)}  ${text}`)
  try {
    // Before minutes of work: whether there is a place for what comes of it.
    if (options.writesDocs) await checkPage(PAGE)
    const measured = await measure(options, { signal: interrupt.signal, onProgress })
    const outcome = placementsOutcome(measured)
    console.log(`\n${printedOutcome(outcome)}\n`)
    if (options.writesDocs) await writeDocs(PAGE, outcome)
    console.log(await saveResult('bench-placements', { options, outcome, measured }))
    return 0
  } catch (error) {
    if (!interrupt.signal.aborted) throw error
    return interrupt.exitStatus
  }
}

async function measure(
  { rounds, seconds, tenants: count }: PlacementsOptions,
  options: HouseOptions,
): Promise<Measured> {
  await using resources = new AsyncDisposableStack()
  const house = await buildHouse(resources, options)
  const { tenants, ...first } = await house.serve('one', ONE_TENANT, async (serving) => {
    const onboarded = await onboardAll(serving, count)
    const { tenants } = onboarded
    const diskBytes = await measureDisk(serving.admin, tenants)
    options.onProgress('filling tables')
    await seed(serving.admin, house.databaseUrl, tenants)
    return {
      tenants,
      onboardingMs: onboarded.oneMs,
      batchMs: onboarded.batchMs,
      diskBytes,
      one: await measureHot(serving, tenants, { rounds, seconds, at: 1 }),
      firstRequestMs: await measureFirstRequests(serving, tenants, rounds * FIRST_REQUESTS),
      footprints: await measureFootprints(serving, tenants),
    }
  })
  const second = await house.serve('many', MANY_TENANTS, async (serving) => ({
    many: await measureHot(serving, tenants, { rounds, seconds, at: MANY }),
  }))
  return { tenants: count, ...first, ...second, fleetMs: await measureFleet(house) }
}

function read(args: readonly string[]): PlacementsOptions | number {
  try {
    const options = parsePlacementsArgs(args)
    if (options !== 'help') return options
    process.stdout.write(PLACEMENTS_USAGE)
    return 0
  } catch (error) {
    if (!(error instanceof BenchUsageError)) throw error
    console.error(`${error.message}\n\n${PLACEMENTS_USAGE}`)
    return 2
  }
}
