import t from 'tap'
import { adviseSizes } from '../../src/ops/advice.ts'
import type { SizeFacts } from '../../src/ops/size-facts.ts'
import type { PoolCounters } from '../../src/pool/contract.ts'
import type { ServerCapacity } from '../../src/servers/server-capacity.ts'
import { COUNTERS, makeBudget, makeHolder, makeServer } from './fixtures.ts'

const HOUR = 3_600_000

const CAPACITY: ServerCapacity = {
  maxConnections: 100,
  superuserReserved: 3,
  reserved: 0,
  sessions: { tenants: 0, service: 2, others: 2 },
}

const LIMITS: SizeFacts['limits'] = {
  maxEntries: 500,
  maxConnections: 4,
  sharedMaxConnections: 16,
  serverMaxConnections: 80,
  processMaxConnections: 400,
  maxOpening: 8,
  maxWaiting: 1000,
  idleMs: 600_000,
  thrashMs: 60_000,
}

const QUIET: SizeFacts['counters'] = {
  opens: { ok: 1000, failed: 0 },
  evictions: {
    ...COUNTERS.evictions,
    idle: 0,
    capacity: 0,
    budget: 0,
  },
  reopened: 0,
  saturated: 0,
  displaced: 0,
}

/** The default sizes at a server with the default max_connections: there is nothing to say. */
function makeFacts(facts: Partial<SizeFacts> = {}): SizeFacts {
  return {
    limits: LIMITS,
    roleConnectionLimit: 32,
    controlMaxConnections: 10,
    nodes: 1,
    uptimeMs: HOUR,
    budget: makeBudget(),
    counters: QUIET,
    capacities: new Map([['default', CAPACITY]]),
    ...facts,
  }
}

function full(server: Parameters<typeof makeServer>[0] = {}) {
  return makeBudget({ servers: [makeServer({ used: 80, peak: 80, ...server })] })
}

const refused = (saturated: number): SizeFacts['counters'] => ({ ...QUIET, saturated })
const evictions = (some: Partial<PoolCounters['evictions']>) => ({ ...QUIET.evictions, ...some })
const about = (facts: Partial<SizeFacts>) => adviseSizes(makeFacts(facts)).map((each) => each.about)
const texts = (facts: Partial<SizeFacts>) => adviseSizes(makeFacts(facts)).map((each) => each.text)

/** The text of the one piece of advice that there must be. */
function only(facts: Partial<SizeFacts>): string {
  const [text, ...others] = texts(facts)
  if (text === undefined || others.length > 0) throw new Error(`not one piece of advice: ${texts(facts)}`)
  return text
}

t.test('sizes that fit are left alone', async (t) => {
  t.strictSame(texts({}), [])
  t.strictSame(texts({ budget: full() }), [], 'a spent budget is fine as long as nobody waits')
  t.strictSame(texts({ capacities: new Map() }), [], 'a server that cannot be asked')
})

t.test('SERVER_MAX_CONNECTIONS above what the server leaves', async (t) => {
  const crowded = { ...CAPACITY, reserved: 2, sessions: { ...CAPACITY.sessions, others: 20 } }
  t.strictSame(adviseSizes(makeFacts({ capacities: new Map([['default', crowded]]) })), [
    {
      about: 'SERVER_MAX_CONNECTIONS',
      severity: 'warning',
      text:
        'SERVER_MAX_CONNECTIONS is 80, but data server "default" leaves 60 to tenants: max_connections 100, ' +
        'less 5 reserved, 20 sessions of others and 15 for the own work of each of 1 node. ' +
        'Set it to 60 at most, or raise max_connections to 120 at least.',
    },
  ])
  t.match(only({ nodes: 2 }), /leaves 65 to tenants: .* of each of 2 nodes\. Set it to 65 at most/)
  const tiny = { ...CAPACITY, maxConnections: 20 }
  t.match(
    only({ capacities: new Map([['default', tiny]]) }),
    /leaves 0 to tenants: .* Raise max_connections to 100 at least\./,
  )
  const other = makeBudget({ servers: [makeServer({ server: 'other' })] })
  t.strictSame(
    texts({ budget: other, capacities: new Map([['other', { ...CAPACITY, maxConnections: 90 }]]) }),
    [],
    'at another server there is no control database',
  )
})

t.test('callers refused at a server that is full', async (t) => {
  const roomy = new Map([['default', { ...CAPACITY, maxConnections: 200 }]])
  t.strictSame(texts({ budget: full(), counters: refused(7), capacities: roomy }), [
    'All 80 connections of this process to data server "default" were in use at once; 7 callers refused so ' +
      'far, 0 pools waiting now. The server has room for 100 more: raise SERVER_MAX_CONNECTIONS from 80 to ' +
      '180 at most.',
  ])
  const spent = new Map([['default', { ...CAPACITY, maxConnections: 100 }]])
  t.match(
    only({ budget: full({ claims: 3 }), capacities: spent }),
    /0 callers refused so far, 3 pools waiting now\. The server has no more to give: look for slow statements/,
  )
  t.match(
    only({ budget: full(), counters: refused(1), capacities: new Map() }),
    /1 caller refused so far.* raise SERVER_MAX_CONNECTIONS \(80\) if the server has room\./,
  )
})

t.test('a budget that was never needed is told of after an hour', async (t) => {
  const budget = makeBudget({ servers: [makeServer({ peak: 9 })] })
  t.strictSame(texts({ budget, uptimeMs: HOUR - 1 }), [])
  t.strictSame(adviseSizes(makeFacts({ budget, uptimeMs: 5 * HOUR })), [
    {
      about: 'SERVER_MAX_CONNECTIONS',
      severity: 'notice',
      text:
        'At most 9 of 80 connections to data server "default" were in use at once in 5 h. If others need ' +
        'them, SERVER_MAX_CONNECTIONS (80) could be 18.',
    },
  ])
  t.strictSame(texts({ budget: makeBudget({ servers: [makeServer({ peak: 21 })] }) }), [])
})

t.test('a share smaller than what one tenant may have', async (t) => {
  const scattered = { nodes: 30, roleConnectionLimit: 200, capacities: new Map() }
  const budget = makeBudget({ servers: [makeServer({ limit: 2 })] })
  t.match(
    only({ ...scattered, budget }),
    /share of data server "default" is 2 of 80 connections over 30 live nodes, less than POOL_MAX_CONNECTIONS \(4\).* to 120 at least/,
  )
})

t.test('a data server with a budget of its own is measured by that', async (t) => {
  const budget = makeBudget({ servers: [makeServer({ server: 'us-1', limit: 2 })] })
  const facts = { nodes: 5, budget, capacities: new Map(), serverBudgets: new Map([['us-1', 10]]) }
  t.match(
    only({ ...facts, limits: { ...LIMITS, maxConnections: 3 } }),
    /is 2 of 10 connections over 5 live nodes.*raise max_connections of \/v1\/servers\/us-1 to 15 at least/,
  )
  const large = { ...facts, nodes: 1, capacities: new Map([['us-1', CAPACITY]]) }
  t.match(
    only({
      ...large,
      budget: makeBudget({ servers: [makeServer({ server: 'us-1', limit: 500 })] }),
      serverBudgets: new Map([['us-1', 500]]),
    }),
    /^max_connections of \/v1\/servers\/us-1 is 500, but data server "us-1" leaves/,
  )
})

t.test('more tenants than connections', async (t) => {
  const holders = [makeHolder(), makeHolder({ connections: 0, waiting: 5 }), makeHolder()]
  const budget = makeBudget({ servers: [makeServer({ limit: 2, used: 2, holders })] })
  const limits = { ...LIMITS, maxConnections: 1 }
  t.match(only({ budget, limits }), /^3 tenants want connections .* share 2: each has less than one\./)
})

t.test('a tenant at its own limit beside free connections', async (t) => {
  const holders = [makeHolder({ connections: 4, waiting: 9 }), makeHolder({ connections: 4 })]
  const budget = makeBudget({ servers: [makeServer({ used: 30, peak: 30, holders })] })
  t.strictSame(adviseSizes(makeFacts({ budget })), [
    {
      about: 'POOL_MAX_CONNECTIONS',
      severity: 'notice',
      text:
        '1 tenant at the limit of 4 connections with callers waiting, while 50 of 80 to data server ' +
        '"default" are free. Look for slow statements of theirs, or raise POOL_MAX_CONNECTIONS.',
    },
  ])
})

t.test('tenants that share all their connections beside free ones', async (t) => {
  const shared = makeHolder({ tenantId: 'shared:default', connections: 16, waiting: 9, weight: 16 })
  const budget = makeBudget({ servers: [makeServer({ used: 30, peak: 30, holders: [shared] })] })
  t.strictSame(adviseSizes(makeFacts({ budget })), [
    {
      about: 'ROW_MAX_CONNECTIONS',
      severity: 'notice',
      text:
        'The tenants of placement row use all 16 connections that they share of data server "default" with ' +
        '9 callers waiting, while 50 of 80 are free. Look for slow statements of theirs, or raise ROW_MAX_CONNECTIONS.',
    },
  ])
  const fewer = makeHolder({ tenantId: 'shared:default', connections: 15, waiting: 9, weight: 16 })
  t.strictSame(
    texts({ budget: makeBudget({ servers: [makeServer({ used: 30, peak: 30, holders: [fewer] })] }) }),
    [],
  )
})

t.test('many nodes that open at once', async (t) => {
  const capacities = new Map([['default', { ...CAPACITY, maxConnections: 200 }]])
  t.strictSame(about({ nodes: 6, capacities }), [])
  t.match(
    only({ nodes: 7, capacities }),
    /^7 live nodes may open 56 connections .* \(200\).* Set POOL_MAX_OPENING to 7\.$/,
  )
})

t.test('a role that may not have what the nodes would open', async (t) => {
  const capacities = new Map()
  t.strictSame(texts({ nodes: 8, capacities }), [])
  t.match(
    only({ nodes: 9, capacities }),
    /^9 nodes .* open 36 sessions .* allows its role 32 .* to 36 at least/,
  )
})

t.test('one node and one caller are told of in the singular', async (t) => {
  const limits = { ...makeFacts({}).limits, maxConnections: 40 }
  const role = adviseSizes(makeFacts({ nodes: 1, capacities: new Map(), limits }))
  t.strictSame(
    role.filter((each) => each.about === 'ROLE_CONNECTION_LIMIT').map(({ text }) => text),
    [
      '1 node with POOL_MAX_CONNECTIONS 40 may open 40 sessions for one tenant, but PostgreSQL allows its role 32 and refuses ' +
        'the others (53300). Raise ROLE_CONNECTION_LIMIT to 40 at least; roles that are there follow within a minute.',
    ],
  )
  const connections = { used: 400, limit: 400, peak: 400 }
  t.strictSame(texts({ budget: makeBudget({ connections }), counters: refused(1) }), [
    'All 400 connections of this process were in use at once and 1 caller was refused, while data servers had room. Raise ' +
      'PROCESS_MAX_CONNECTIONS, or add a node.',
  ])
})

t.test('a process that is full while a server is not', async (t) => {
  const connections = { used: 400, limit: 400, peak: 400 }
  t.strictSame(about({ budget: makeBudget({ connections }), counters: refused(2) }), [
    'PROCESS_MAX_CONNECTIONS',
  ])
  t.strictSame(about({ budget: makeBudget({ connections }) }), [], 'nobody was refused')
  t.strictSame(about({ budget: { ...full(), connections }, counters: refused(2), capacities: new Map() }), [
    'SERVER_MAX_CONNECTIONS',
  ])
})

t.test('openings that were all in use while connections were not', async (t) => {
  const opening = { used: 0, limit: 8, peak: 8 }
  t.strictSame(about({ budget: makeBudget({ opening }), counters: refused(2) }), ['POOL_MAX_OPENING'])
  t.strictSame(about({ budget: makeBudget({ opening }) }), [], 'nobody was refused')
})

t.test('a queue that was full', async (t) => {
  const waiting = { used: 0, limit: 1000, peak: 1000 }
  t.match(
    only({ budget: makeBudget({ waiting }), counters: { ...QUIET, displaced: 3 } }),
    /^All 1000 places in the queue were taken at once; 3 waiting callers were refused/,
  )
  t.strictSame(
    texts({ budget: makeBudget({ waiting: { used: 0, limit: 0, peak: 0 } }) }),
    [],
    'there is no queue',
  )
})

t.test('thrash names the limit that the evictions came from', async (t) => {
  const thrash = (some: Partial<PoolCounters['evictions']>, reopened = 200) =>
    about({ counters: { ...QUIET, reopened, evictions: evictions(some) } })
  t.strictSame(thrash({ capacity: 300, budget: 10 }), ['POOL_MAX_ENTRIES'])
  t.strictSame(thrash({ capacity: 1, budget: 300, idle: 20 }), ['SERVER_MAX_CONNECTIONS'])
  t.strictSame(thrash({ idle: 300 }), ['POOL_IDLE_SECONDS'])
  t.strictSame(thrash({ operator: 300 }), [], 'an operator knows what he does')
  t.strictSame(thrash({ capacity: 300 }, 49), [], 'one in twenty is no thrash')
  t.match(
    only({ counters: { ...QUIET, reopened: 200, evictions: evictions({ capacity: 300 }) } }),
    /^200 of 1000 opens came within 60 s of the pool's eviction, and 300 pools were evicted for capacity/,
  )
})

t.test('warnings come before notices', async (t) => {
  const budget = makeBudget({
    servers: [makeServer({ peak: 9 })],
    waiting: { used: 0, limit: 1000, peak: 1000 },
  })
  t.strictSame(
    adviseSizes(makeFacts({ budget })).map(({ severity }) => severity),
    ['warning', 'notice'],
  )
})
