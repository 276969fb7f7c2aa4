import { Counter, Gauge, type Registry } from 'prom-client'
import type { PoolCounters, PoolGauges, Pools } from '../pool/contract.ts'

/** registerPoolMetrics adds the engine's counters and gauges, which are read at each scrape. */
export function registerPoolMetrics(registry: Registry, pools: Pick<Pools, 'counters' | 'gauges'>): void {
  const registers = [registry]

  function gauge(name: string, help: string, read: (gauges: PoolGauges) => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(pools.gauges()))
      },
    })
  }

  function gauges(
    name: string,
    help: string,
    label: string,
    read: (gauges: PoolGauges) => Readonly<Record<string, number>>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        for (const [value, count] of Object.entries(read(pools.gauges()))) this.set({ [label]: value }, count)
      },
    })
  }

  function counter(name: string, help: string, read: (counters: PoolCounters) => number): void {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read(pools.counters()))
      },
    })
  }

  function counters(
    name: string,
    help: string,
    label: string,
    read: (counters: PoolCounters) => Readonly<Record<string, number>>,
  ): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset()
        for (const [value, count] of Object.entries(read(pools.counters()))) {
          this.inc({ [label]: value }, count)
        }
      },
    })
  }

  gauges('lessor_pools', 'Pools by state', 'state', (all) => all.entries)
  gauge('lessor_pool_leases', 'Leases held', (all) => all.leases)
  gauge('lessor_pool_waiting', 'Callers that wait for a pool or a connection', (all) => all.waiting)
  gauges('lessor_pool_connections', 'Server connections by state', 'state', (all) => all.connections)
  counters('lessor_pool_opens_total', 'Pools opened', 'outcome', (all) => all.opens)
  counter('lessor_pool_hits_total', 'Leases of a pool that was open', (all) => all.hits)
  counters('lessor_pool_evictions_total', 'Pools evicted', 'reason', (all) => all.evictions)
  counter('lessor_pool_reopened_total', 'Pools reopened shortly after an eviction', (all) => all.reopened)
  counter('lessor_pool_saturated_total', 'Callers refused for want of a connection', (all) => all.saturated)
  counter('lessor_pool_cancelled_total', 'Statements cancelled at the server', (all) => all.cancelled)
  counter('lessor_pool_connections_opened_total', 'Server connections opened', (all) => all.connectionsOpened)
  counter('lessor_pool_connections_closed_total', 'Server connections closed', (all) => all.connectionsClosed)
}
