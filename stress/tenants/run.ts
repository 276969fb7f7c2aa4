import { parseArgs } from 'node:util'
import { startTestServer } from '../../test/support/server.ts'
import { saveResult } from '../results.ts'
import { isMet, type Measurement, quantile, tableOf } from '../scale/measurement.ts'
import { makeResident, measureRequests, type Times } from './requests.ts'
import { type Onboarding, Side } from './side.ts'

const FEW = 10

const USAGE = `npm run scale -- tenants [--tenants 1000000] [--cycles 2000]
  onboards that many tenants of placement row and compares their requests with those of ten`

/** scaleTenants measures what a tenant costs among very many, beside one among ten; resolves with the exit status. */
export async function scaleTenants(args: readonly string[]): Promise<number> {
  const options = parse(args)
  if (options === undefined) {
    console.error(USAGE)
    return 2
  }
  const { tenants, cycles } = options
  await using resources = new AsyncDisposableStack()
  const server = await startTestServer()
  resources.defer(() => server.stop())
  const sides: Side[] = []
  for (const count of [FEW, tenants]) {
    const side = await Side.open(server.url, count)
    resources.defer(() => side.close())
    sides.push(side)
  }
  const [few, many] = sides
  if (few === undefined || many === undefined) throw new Error('bug: there are two sides')
  const tell = (text: string) => console.error(text)
  await few.onboard(tell)
  const onboarding = await many.onboard(tell)
  tell('a row for each')
  for (const side of sides) await side.fill()
  for (const side of sides) await makeResident(side)
  tell(`${cycles} tenants of each side, in turn`)
  const [ofFew, ofMany] = await measureRequests(sides, cycles)
  if (ofFew === undefined || ofMany === undefined) throw new Error('bug: there are times of both sides')

  const measurements = [...ofOnboarding(onboarding, tenants), ...compare(ofMany, ofFew, tenants)]
  console.log(`\n${tableOf(measurements)}\n`)
  const met = measurements.map((each) => ({ ...each, met: isMet(each) }))
  console.log(await saveResult('scale-tenants', { tenants, measurements: met }))
  return measurements.every(isMet) ? 0 : 1
}

function ofOnboarding({ batches, ms }: Onboarding, tenants: number): readonly Measurement[] {
  const tenth = Math.max(1, Math.floor(batches.length / 10))
  const first = quantile(batches.slice(0, tenth), 0.5)
  const last = quantile(batches.slice(-tenth), 0.5)
  return [
    {
      what: `onboarding a tenant, ${tenants} in batches`,
      value: (ms * 1000) / tenants,
      unit: 'us',
      note: `${Math.round((tenants * 1000) / ms)}/s, ${(ms / 1000).toFixed(0)} s in all`,
    },
    {
      what: 'a batch of the last tenth against one of the first',
      value: last / first,
      unit: 'times',
      below: 2,
      note: `${last.toFixed(1)} ms against ${first.toFixed(1)} ms, medians`,
    },
  ]
}

function compare(many: Times, few: Times, tenants: number): readonly Measurement[] {
  const names: readonly (readonly [keyof Times, string, number])[] = [
    ['first', 'first request of a tenant', 1.5],
    ['hot', 'hot request', 1.5],
    ['eviction', 'eviction', 1.5],
    // Ten of ten are read from one block of memory, in no order; ten of many along an index.
    ['list', 'page of tenants for an operator', 3],
    ['byName', 'tenant by its name', 1.5],
    ['counts', 'counts of tenants for a scrape', 1.5],
  ]
  return names.map(([key, what, below]) => {
    const [a, b] = [quantile(many[key], 0.5), quantile(few[key], 0.5)]
    const [a99, b99] = [quantile(many[key], 0.99), quantile(few[key], 0.99)]
    return {
      what: `${what}, ${tenants} tenants against ${FEW}`,
      value: a / b,
      unit: 'times',
      below,
      note: `${a.toFixed(3)} ms against ${b.toFixed(3)} ms; 99th percentiles ${a99.toFixed(2)}, ${b99.toFixed(2)}`,
    }
  })
}

function parse(args: readonly string[]): { tenants: number; cycles: number } | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        tenants: { type: 'string', default: '1000000' },
        cycles: { type: 'string', default: '2000' },
      },
    })
    const [tenants, cycles] = [Number(values.tenants), Number(values.cycles)]
    const isSensible = Number.isInteger(tenants) && tenants > FEW && Number.isInteger(cycles) && cycles >= 1
    return isSensible ? { tenants, cycles } : undefined
  } catch {
    // parseArgs refuses what it does not know.
    return undefined
  }
}
