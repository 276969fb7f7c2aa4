import { type ServerBudget, sharedHolder } from '../pool/contract.ts'
import { DEFAULT_SERVER } from '../servers/data-server.ts'
import type { ServerCapacity } from '../servers/server-capacity.ts'
import type { Advice, SizeFacts } from './size-facts.ts'

/** Of one node to a data server besides its tenants': administrators, a listener, and one to spare. */
const OWN_CONNECTIONS = 5
/** A peak says little before this time. */
const MIN_UPTIME_MS = 3_600_000

/** adviseOnServer looks at one data server's budget beside what the server has. */
export function* adviseOnServer(server: ServerBudget, facts: SizeFacts): Generator<Advice> {
  const capacity = facts.capacities.get(server.server)
  if (capacity !== undefined) yield* exceeds(server, capacity, facts)
  yield* isFull(server, capacity, facts)
  yield* isTooLarge(server, facts)
  yield* isScattered(server, facts)
  yield* isCrowded(server, facts)
  yield* holdsBack(server, facts)
  yield* holdsBackShared(server, facts)
  if (capacity !== undefined) yield* opensManyAtOnce(server, capacity, facts)
}

/** leftForTenants is the connections that a server has for tenants of all nodes. */
export function leftForTenants(
  server: string,
  { maxConnections, superuserReserved, reserved, sessions }: ServerCapacity,
  facts: Pick<SizeFacts, 'nodes' | 'controlMaxConnections'>,
): number {
  return (
    maxConnections -
    superuserReserved -
    reserved -
    sessions.others -
    facts.nodes * ownConnections(server, facts)
  )
}

function ownConnections(server: string, facts: Pick<SizeFacts, 'controlMaxConnections'>): number {
  // The first data server is the control database's as well.
  return OWN_CONNECTIONS + (server === DEFAULT_SERVER ? facts.controlMaxConnections : 0)
}

/** budgetOf is the connections of tenants to a data server over all nodes. */
function budgetOf(server: string, { limits, serverBudgets }: SizeFacts): number {
  return serverBudgets?.get(server) ?? limits.serverMaxConnections
}

/** nameOf is what is to be changed for another budget. */
function nameOf(server: string, facts: SizeFacts): string {
  if (budgetOf(server, facts) === facts.limits.serverMaxConnections) return 'SERVER_MAX_CONNECTIONS'
  return `max_connections of /v1/servers/${server}`
}

function* exceeds({ server }: ServerBudget, capacity: ServerCapacity, facts: SizeFacts): Generator<Advice> {
  const wanted = budgetOf(server, facts)
  const left = leftForTenants(server, capacity, facts)
  if (wanted <= left) return
  const { maxConnections, superuserReserved, reserved, sessions } = capacity
  const lower = left >= facts.limits.maxConnections ? `Set it to ${left} at most, or raise` : 'Raise'
  yield {
    about: nameOf(server, facts),
    severity: 'warning',
    text:
      `${nameOf(server, facts)} is ${wanted}, but data server "${server}" leaves ${Math.max(0, left)} to tenants: ` +
      `max_connections ${maxConnections}, less ${superuserReserved + reserved} reserved, ${sessions.others} ` +
      `sessions of others and ${ownConnections(server, facts)} for the own work of each of ` +
      `${count(facts.nodes, 'node')}. ${lower} max_connections to ${maxConnections + wanted - left} at least.`,
  }
}

function* isFull(
  { server, peak, limit, claims }: ServerBudget,
  capacity: ServerCapacity | undefined,
  facts: SizeFacts,
): Generator<Advice> {
  const { saturated } = facts.counters
  if (peak < limit || (saturated === 0 && claims === 0)) return
  const seen =
    `All ${limit} connections of this process to data server "${server}" were in use at once; ` +
    `${count(saturated, 'caller')} refused so far, ${count(claims, 'pool')} waiting now.`
  const total = budgetOf(server, facts)
  const name = nameOf(server, facts)
  const left = capacity === undefined ? undefined : leftForTenants(server, capacity, facts)
  yield {
    about: name,
    severity: 'warning',
    text:
      left === undefined
        ? `${seen} Look for slow statements, then raise ${name} (${total}) if the server has room.`
        : left > total
          ? `${seen} The server has room for ${left - total} more: raise ${name} from ${total} to ${left} at most.`
          : `${seen} The server has no more to give: look for slow statements, raise its max_connections (${capacity?.maxConnections}), or move tenants to another.`,
  }
}

function* isTooLarge({ server, peak, limit }: ServerBudget, facts: SizeFacts): Generator<Advice> {
  if (facts.uptimeMs < MIN_UPTIME_MS || peak === 0 || peak * 4 > limit) return
  const enough = Math.max(2 * peak * facts.nodes, facts.limits.maxConnections)
  const name = nameOf(server, facts)
  if (enough >= budgetOf(server, facts)) return
  yield {
    about: name,
    severity: 'notice',
    text:
      `At most ${peak} of ${limit} connections to data server "${server}" were in use at once in ` +
      `${Math.floor(facts.uptimeMs / 3_600_000)} h. If others need them, ${name} ` +
      `(${budgetOf(server, facts)}) could be ${enough}.`,
  }
}

function* isScattered({ server, limit }: ServerBudget, facts: SizeFacts): Generator<Advice> {
  const { maxConnections } = facts.limits
  const name = nameOf(server, facts)
  if (limit >= maxConnections) return
  yield {
    about: name,
    severity: 'warning',
    text:
      `This node's share of data server "${server}" is ${limit} of ${budgetOf(server, facts)} connections over ` +
      `${count(facts.nodes, 'live node')}, less than POOL_MAX_CONNECTIONS (${maxConnections}) grants one ` +
      `tenant. Run fewer nodes, or raise ${name} to ${facts.nodes * maxConnections} at least.`,
  }
}

function* isCrowded({ server, holders, limit }: ServerBudget, facts: SizeFacts): Generator<Advice> {
  const wanting = holders.filter(({ waiting, connections }) => waiting > 0 || connections > 0).length
  if (wanting <= limit || !holders.some(({ waiting }) => waiting > 0)) return
  const name = nameOf(server, facts)
  yield {
    about: name,
    severity: 'warning',
    text:
      `${wanting} tenants want connections of data server "${server}" at once and share ${limit}: each has ` +
      `less than one. Raise ${name}, or move tenants to another data server.`,
  }
}

function* holdsBack({ server, holders, used, limit }: ServerBudget, facts: SizeFacts): Generator<Advice> {
  const { maxConnections } = facts.limits
  const bound = holders.filter(
    (each) =>
      each.waiting > 0 && each.connections >= maxConnections && each.tenantId !== sharedHolder(server),
  )
  if (bound.length === 0 || used >= limit) return
  yield {
    about: 'POOL_MAX_CONNECTIONS',
    severity: 'notice',
    text:
      `${count(bound.length, 'tenant')} at the limit of ${maxConnections} connections with callers waiting, ` +
      `while ${limit - used} of ${limit} to data server "${server}" are free. Look for slow statements of ` +
      `theirs, or raise POOL_MAX_CONNECTIONS.`,
  }
}

function* holdsBackShared(
  { server, holders, used, limit }: ServerBudget,
  { limits: { sharedMaxConnections } }: SizeFacts,
): Generator<Advice> {
  const shared = holders.find(({ tenantId }) => tenantId === sharedHolder(server))
  if (shared === undefined || shared.waiting === 0 || used >= limit) return
  if (shared.connections < sharedMaxConnections) return
  yield {
    about: 'ROW_MAX_CONNECTIONS',
    severity: 'notice',
    text:
      `The tenants of placement row use all ${sharedMaxConnections} connections that they share of data server ` +
      `"${server}" with ${count(shared.waiting, 'caller')} waiting, while ${limit - used} of ${limit} are free. ` +
      `Look for slow statements of theirs, or raise ROW_MAX_CONNECTIONS.`,
  }
}

function* opensManyAtOnce(
  { server }: ServerBudget,
  { maxConnections }: ServerCapacity,
  { limits, nodes }: SizeFacts,
): Generator<Advice> {
  const atOnce = nodes * limits.maxOpening
  const most = Math.floor(maxConnections / 4)
  if (nodes === 1 || atOnce <= most) return
  yield {
    about: 'POOL_MAX_OPENING',
    severity: 'notice',
    text:
      `${nodes} live nodes may open ${atOnce} connections to data server "${server}" at once, more than a ` +
      `quarter of its max_connections (${maxConnections}); each costs it a new process and a login. Set ` +
      `POOL_MAX_OPENING to ${Math.max(1, Math.floor(most / nodes))}.`,
  }
}

/** count is a number of things, `1 node` or `2 nodes`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
