import { adviseOnServer, count } from './server-advice.ts'
import { ADVICE_SEVERITIES, type Advice, type SizeFacts } from './size-facts.ts'

/** Fewer pools reopened than this say nothing. */
const THRASH_COUNT = 10
/** The part of all opens from which on reopening is called thrash. */
const THRASH_PART = 0.05

/** adviseSizes draws conclusions from the limits, what was used of them, and what the data servers have; warnings first. */
export function adviseSizes(facts: SizeFacts): readonly Advice[] {
  const found = [
    ...facts.budget.servers.flatMap((server) => [...adviseOnServer(server, facts)]),
    ...adviseOnProcess(facts),
    ...adviseOnRoles(facts),
    ...adviseOnOpening(facts),
    ...adviseOnWaiting(facts),
    ...adviseOnThrash(facts),
  ]
  return ADVICE_SEVERITIES.flatMap((severity) => found.filter((advice) => advice.severity === severity))
}

function* adviseOnProcess({ budget, counters }: SizeFacts): Generator<Advice> {
  const { connections, servers } = budget
  const roomElsewhere = servers.some(({ used, limit }) => used < limit)
  if (counters.saturated === 0 || connections.peak < connections.limit || !roomElsewhere) return
  yield {
    about: 'PROCESS_MAX_CONNECTIONS',
    severity: 'warning',
    text:
      `All ${connections.limit} connections of this process were in use at once and ` +
      `${were(counters.saturated, 'caller')} refused, while data servers had room. Raise PROCESS_MAX_CONNECTIONS, or add a node.`,
  }
}

function* adviseOnRoles({ limits, roleConnectionLimit, nodes }: SizeFacts): Generator<Advice> {
  const wanted = nodes * limits.maxConnections
  if (roleConnectionLimit === 0 || wanted <= roleConnectionLimit) return
  yield {
    about: 'ROLE_CONNECTION_LIMIT',
    severity: 'warning',
    text:
      `${count(nodes, 'node')} with POOL_MAX_CONNECTIONS ${limits.maxConnections} may open ${wanted} sessions for one ` +
      `tenant, but PostgreSQL allows its role ${roleConnectionLimit} and refuses the others (53300). Raise ` +
      `ROLE_CONNECTION_LIMIT to ${wanted} at least; roles that are there follow within a minute.`,
  }
}

function* adviseOnOpening({ budget, counters }: SizeFacts): Generator<Advice> {
  const { opening, connections, servers } = budget
  const wasFull = [connections, ...servers].some(({ peak, limit }) => peak >= limit)
  if (counters.saturated === 0 || opening.peak < opening.limit || wasFull) return
  yield {
    about: 'POOL_MAX_OPENING',
    severity: 'notice',
    text:
      `${were(counters.saturated, 'caller')} refused though no data server's connections were all in use, and ` +
      `all ${opening.limit} openings were under way at once. If pools open slowly ` +
      `(lessor_pool_open_seconds), raise POOL_MAX_OPENING.`,
  }
}

function* adviseOnWaiting({ budget, counters }: SizeFacts): Generator<Advice> {
  const { waiting } = budget
  if (waiting.limit === 0 || waiting.peak < waiting.limit) return
  yield {
    about: 'POOL_MAX_WAITING',
    severity: 'warning',
    text:
      `All ${waiting.limit} places in the queue were taken at once; ` +
      `${were(counters.displaced, 'waiting caller')} refused to make room for others. More connections shorten the queue; a higher POOL_MAX_WAITING only ` +
      `lengthens the wait.`,
  }
}

function* adviseOnThrash({ limits, counters, budget }: SizeFacts): Generator<Advice> {
  const { evictions, opens, reopened } = counters
  if (reopened < THRASH_COUNT || reopened < THRASH_PART * opens.ok) return
  const seen = `${reopened} of ${opens.ok} opens came within ${seconds(limits.thrashMs)} s of the pool's eviction`
  const { capacity, budget: forBudget, idle } = evictions
  const most = Math.max(capacity, forBudget, idle)
  if (most === 0) return
  if (capacity === most) {
    yield {
      about: 'POOL_MAX_ENTRIES',
      severity: 'warning',
      text:
        `${seen}, and ${were(capacity, 'pool')} evicted for capacity: more tenants are at work than ` +
        `POOL_MAX_ENTRIES (${limits.maxEntries}; peak ${budget.entries.peak}) has places. Raise it: a pool ` +
        `without a connection is only its credential in memory.`,
    }
  } else if (forBudget === most) {
    yield {
      about: 'SERVER_MAX_CONNECTIONS',
      severity: 'warning',
      text:
        `${seen}, and ${were(forBudget, 'pool')} evicted for a connection of theirs. Raise SERVER_MAX_CONNECTIONS ` +
        `(${limits.serverMaxConnections}) if the data servers have room, or lower POOL_MAX_CONNECTIONS ` +
        `(${limits.maxConnections}).`,
    }
  } else {
    yield {
      about: 'POOL_IDLE_SECONDS',
      severity: 'notice',
      text:
        `${seen}, and ${were(idle, 'pool')} evicted as idle after ${seconds(limits.idleMs)} s: tenants come back ` +
        `soon after. Raise POOL_IDLE_SECONDS.`,
    }
  }
}

/** To be followed by what was done to them. */
function were(number: number, noun: string): string {
  return `${count(number, noun)} ${number === 1 ? 'was' : 'were'}`
}

function seconds(ms: number): number {
  return Math.round(ms / 1000)
}
