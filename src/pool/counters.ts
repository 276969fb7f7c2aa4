/** MutableCounters live outside entries, so that an eviction never resets them. */
export interface MutableCounters {
  hits: number
  opensOk: number
  opensFailed: number
  reopened: number
  saturated: number
  displaced: number
  yielded: number
  idleExtended: number
  openedForTenant: number
  openedForServer: number
  refusedByTenant: number
  refusedByServer: number
  cancelled: number
  sentAgain: number
  connectionsOpened: number
  connectionsClosed: number
}

/** newCounters starts all counters at zero. */
export function newCounters(): MutableCounters {
  return {
    hits: 0,
    opensOk: 0,
    opensFailed: 0,
    reopened: 0,
    saturated: 0,
    displaced: 0,
    yielded: 0,
    idleExtended: 0,
    openedForTenant: 0,
    openedForServer: 0,
    refusedByTenant: 0,
    refusedByServer: 0,
    cancelled: 0,
    sentAgain: 0,
    connectionsOpened: 0,
    connectionsClosed: 0,
  }
}
