import type { PoolRegistry } from '../../src/pool/registry.ts'
import { type Measurement, quantile } from './measurement.ts'

const WARM_UP = 50
const SWEEPS = 300

/** measureSweep sweeps a registry in which nothing is due. @throws Error when something was */
export function measureSweep(registry: PoolRegistry): readonly Measurement[] {
  const times: number[] = []
  let resident = 0
  for (let i = 0; i < WARM_UP + SWEEPS; i++) {
    const start = performance.now()
    const report = registry.sweep()
    const ms = performance.now() - start
    if (report.evicted.length > 0 || report.connectionsClosed > 0)
      throw new Error('the sweep found something')
    if (i >= WARM_UP) times.push(ms)
    resident = report.resident
  }
  return [
    {
      what: `a sweep that evicts nothing, ${resident} resident`,
      value: quantile(times, 0.99),
      unit: 'ms',
      below: 2,
      note: `p99 of ${SWEEPS}; median ${quantile(times, 0.5).toFixed(3)} ms, longest ${Math.max(...times).toFixed(3)} ms`,
    },
  ]
}
