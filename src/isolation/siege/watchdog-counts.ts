/** WatchdogCounts is what the watchdog has ended, by its reason, and under `blocked` how many logins it has blocked. */
export type WatchdogCounts = Readonly<Record<string, number>>

const ENDED = /^lessor_watchdog_ended_total\{(?:.*,)?reason="([a-z-]+)".*\} (\d+)$/
const BLOCKED = /^lessor_watchdog_blocked_total(?:\{.*\})? (\d+)$/
const TIMEOUT_MS = 10_000

/** readWatchdogCounts asks the service for them; none when it does not answer. Never rejects. */
export async function readWatchdogCounts(url: string, key: string): Promise<WatchdogCounts> {
  try {
    const response = await fetch(`${url}/metrics`, {
      headers: { authorization: `Bearer ${key}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    return parseWatchdogCounts(await response.text())
  } catch {
    return {}
  }
}

/** parseWatchdogCounts reads them from metrics in Prometheus' text format. */
export function parseWatchdogCounts(text: string): WatchdogCounts {
  const counts: Record<string, number> = {}
  for (const line of text.split('\n')) {
    const [, reason, ended] = ENDED.exec(line) ?? []
    if (reason !== undefined) counts[reason] = (counts[reason] ?? 0) + Number(ended)
    const [, blocked] = BLOCKED.exec(line) ?? []
    if (blocked !== undefined) counts.blocked = Number(blocked)
  }
  return counts
}

/** since is what has come between two readings; what has not is left out. */
export function since(before: WatchdogCounts, after: WatchdogCounts): WatchdogCounts {
  const more = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const)
  return Object.fromEntries(more.filter(([, count]) => count > 0))
}
