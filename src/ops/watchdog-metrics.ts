import type { WatchState } from '../servers/watchdog/watch-state.ts'
import { one, type ScrapedMetric } from './scraped.ts'

/** watchdogMetrics is what this process has done as the watcher of data servers. */
export function watchdogMetrics(
  state: Pick<WatchState, 'ended' | 'blocked' | 'passes'>,
): readonly ScrapedMetric[] {
  return [
    {
      name: 'lessor_watchdog_ended_total',
      help: "Sessions and other work of tenants' logins that the watchdog has ended, by reason",
      type: 'counter',
      read: () => state.ended.map(({ count, reason, server }) => [{ server, reason }, count] as const),
    },
    {
      name: 'lessor_watchdog_blocked_total',
      help: "Logins that the watchdog has blocked, and persons' that it has dropped",
      type: 'counter',
      read: () => one(state.blocked),
    },
    {
      name: 'lessor_watchdog_last_pass_timestamp_seconds',
      help: 'When the watchdog last looked at a data server, or began to; of the process that watches it',
      type: 'gauge',
      read: () => [...state.passes].map(([server, { at }]) => [{ server }, at / 1000] as const),
    },
    {
      name: 'lessor_watchdog_pass_seconds',
      help: 'How long the last look at a data server took',
      type: 'gauge',
      read: () => [...state.passes].map(([server, { seconds }]) => [{ server }, seconds] as const),
    },
  ]
}
