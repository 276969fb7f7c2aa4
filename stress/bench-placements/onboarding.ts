import { median } from '../bench/figures.ts'
import { type PerPlacement, perPlacement, rotated, type Serving, type Tenants } from './house.ts'
import type { BenchTenant } from './service.ts'

const BATCH = 500

/** Onboarded is who was onboarded, and how long it took. */
export interface Onboarded {
  readonly tenants: Tenants
  /** Median of POST /v1/tenants, in milliseconds. */
  readonly oneMs: PerPlacement<number>
  /** POST /v1/tenants:batch, in milliseconds for each of its tenants. */
  readonly batchMs: number
}

/** onboardAll onboards tenants one after the other, the placements in turns, and then many of `row` at once. */
export async function onboardAll(serving: Serving, count: number): Promise<Onboarded> {
  const { service, signal, onProgress } = serving
  const tenants = perPlacement((): BenchTenant[] => [])
  const times = perPlacement((): number[] => [])
  for (let i = 0; i < count; i++) {
    if (i % 10 === 0) onProgress(`onboarding: ${i} of ${count} tenants of each placement`)
    for (const placement of rotated(i)) {
      signal.throwIfAborted()
      const from = performance.now()
      tenants[placement].push(await service.onboard(placement, `${placement} ${i}`))
      times[placement].push(performance.now() - from)
    }
  }
  const names = Array.from({ length: BATCH }, (_, i) => `batch ${i}`)
  const from = performance.now()
  await service.onboardBatch(names)
  const batchMs = (performance.now() - from) / BATCH
  return { tenants, oneMs: perPlacement((placement) => median(times[placement])), batchMs }
}
