/** resourcesNow counts, by kind, what keeps this process alive: sockets, servers, timers, requests. */
export function resourcesNow(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return counts
}

/** resourcesAbove says what there is now beyond what was before; undefined when nothing. */
export function resourcesAbove(before: ReadonlyMap<string, number>): string | undefined {
  const more = [...resourcesNow()].filter(([kind, count]) => count > (before.get(kind) ?? 0))
  return more.length === 0 ? undefined : `more than before: ${more.map(([kind]) => kind).join(', ')}`
}
