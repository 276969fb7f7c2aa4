import { heapUsed } from './heap.ts'
import type { House } from './house.ts'
import type { Measurement } from './measurement.ts'

const KILOBYTE = 1024

/** Numbers is how many residents are measured. */
export interface Numbers {
  readonly residents: number
  readonly connected: number
}

/**
 * measureResidents fills a house and returns what a resident costs, without and with a connection.
 * Tenants 0 to connected - 1 have a real server; the others come first, so that a house that grows is not
 * taken for theirs.
 * @throws Error when they are not all resident
 */
export async function measureResidents(
  house: House,
  { residents, connected }: Numbers,
): Promise<readonly Measurement[]> {
  const empty = await heapUsed()
  await house.open(connected, residents)
  await house.disconnect()
  const disconnected = await heapUsed()
  const perResident = (disconnected - empty) / (residents - connected)
  expectHouse(house, residents - connected, 0)

  await house.open(0, connected)
  const full = await heapUsed()
  expectHouse(house, residents, connected)
  return [
    {
      what: `heap of a resident entry without a connection, of ${residents - connected}`,
      value: perResident,
      unit: 'bytes',
      below: 8 * KILOBYTE,
    },
    {
      what: `heap of a resident entry with one connection, of ${connected}`,
      value: (full - disconnected) / connected,
      unit: 'bytes',
      below: 48 * KILOBYTE,
      note: 'real driver, real PostgreSQL',
    },
  ]
}

function expectHouse({ registry }: House, residents: number, connected: number): void {
  const { entries, connections } = registry.gauges()
  const { opening, idle, busy, closing } = connections
  const seen = { ready: entries.ready, connections: opening + idle + busy + closing }
  if (seen.ready !== residents || seen.connections !== connected) {
    throw new Error(
      `expected ${residents} residents, ${connected} connected; there are ${JSON.stringify(seen)}`,
    )
  }
}
