import { setTimeout as sleep } from 'node:timers/promises'
import { median } from '../bench/figures.ts'
import { type PerPlacement, perPlacement, rotated, type Serving, type Tenants } from './house.ts'

/** What an eviction has to end before the next request. */
const SETTLE_MS = 40

/**
 * measureFirstRequests evicts a tenant and asks for its users, again and again, and resolves with the median of
 * those first requests in milliseconds. Meanwhile another tenant of each placement stays, since the connections of
 * `row` are there as long as anybody uses them.
 */
export async function measureFirstRequests(
  { service, signal, onProgress }: Serving,
  tenants: Tenants,
  samples: number,
): Promise<PerPlacement<number>> {
  onProgress(`first requests: ${samples} of each placement`)
  const times = perPlacement((): number[] => [])
  for (const [, stays] of Object.values(tenants)) if (stays !== undefined) await service.list(stays)
  for (let i = 0; i < samples; i++) {
    for (const placement of rotated(i)) {
      const [tenant] = tenants[placement]
      if (tenant === undefined) throw new Error('bug: a placement without a tenant')
      await service.list(tenant)
      await service.evict(tenant)
      await sleep(SETTLE_MS, undefined, { signal })
      times[placement].push(await service.list(tenant))
    }
  }
  return perPlacement((placement) => median(times[placement]))
}
