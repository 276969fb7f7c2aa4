/** Load is what one server did under load for a while. Times are in milliseconds. */
export interface Load {
  readonly requestsPerSecond: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** CPU time of the server's process for one request, in microseconds; undefined where the system does not tell. */
  readonly cpuMicros: number | undefined
  /** CPU time of the sessions at the database for one request, in microseconds; undefined where nobody asked, or knows. */
  readonly sessionCpuMicros?: number | undefined
}

/** median of values, the mean of the middle two when they are even in number. @throws RangeError when there is none */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  if (low === undefined || high === undefined) throw new RangeError('there is no median of nothing')
  return (low + high) / 2
}

/** medians of several loads, figure by figure. */
export function medians(loads: readonly Load[]): Load {
  const of = (figure: (load: Load) => number) => median(loads.map(figure))
  const cpu = loads.flatMap(({ cpuMicros }) => cpuMicros ?? [])
  const sessionCpu = loads.flatMap(({ sessionCpuMicros }) => sessionCpuMicros ?? [])
  return {
    requestsPerSecond: of((load) => load.requestsPerSecond),
    p50: of((load) => load.p50),
    p99: of((load) => load.p99),
    max: of((load) => load.max),
    cpuMicros: cpu.length === 0 ? undefined : median(cpu),
    ...(sessionCpu.length > 0 && { sessionCpuMicros: median(sessionCpu) }),
  }
}

/** quantile of sorted values by the nearest rank. @throws RangeError when there is none */
export function quantile(sorted: Float64Array, fraction: number): number {
  const value = sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)]
  if (value === undefined) throw new RangeError('there is no quantile of nothing')
  return value
}
