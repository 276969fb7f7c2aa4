import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { Nodes } from '../../src/control/nodes.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { ServerShares } from '../../src/servers/server-shares.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { openControl, until } from './helpers.ts'

const LEASE_MS = 900

interface NodeOptions {
  readonly budget?: number
  readonly leaseMs?: number
  readonly space?: string | null
  readonly pid?: number
  readonly started?: string | null
  readonly watches?: boolean
}

/** Opens a node over its own connections, with pools that hold as many connections as the test says. */
function openNode(t: Test, url: string, options: NodeOptions = {}) {
  const { budget = 12, leaseMs = LEASE_MS, space = null, watches = true } = options
  const { pid = process.pid, started = null } = options
  const control = new ControlDatabase({ url, maxConnections: 2 })
  const state = { used: 0, busy: 0, isCutOff: false, applied: 0n, rebalanced: 0 }
  const told: string[] = []
  const shares: ServerShares = new ServerShares({
    watches,
    servers: () => [{ name: 'default', budget }],
    clock: systemClock,
    pools: {
      used: () => state.used,
      // What is not busy goes at once, as in the engine.
      rebalance() {
        state.rebalanced += 1
        if (state.used > shares.limit('default')) state.used = Math.max(state.busy, shares.limit('default'))
      },
    },
  })
  const down = () => Promise.reject(new Error('cut off'))
  const nodes = new Nodes({
    db: {
      query: (statement) => (state.isCutOff ? down() : control.query(statement)),
      script: (text) => control.script(text),
      transaction: (fn) => (state.isCutOff ? down() : control.transaction(fn)),
      announce: (channel, payload) => control.announce(channel, payload),
    },
    clock: systemClock,
    id: randomUUID(),
    process: { name: 'test', space, pid, started },
    leaseMs,
    shares,
    applied: () => state.applied,
    onWaiting: () => told.push('waiting'),
    onSilent: () => told.push('silent'),
    onHeard: () => told.push('heard'),
  })
  t.teardown(async () => {
    await nodes.stop()
    await control.close()
  })
  return { nodes, shares, state, told, limit: () => shares.limit('default') }
}

type TestNode = ReturnType<typeof openNode>

/** Opens as many connections as the node may have. */
function fill({ state, limit }: TestNode, busy = 0): void {
  state.used = limit()
  state.busy = busy
}

async function granted(db: Db): Promise<number> {
  const [row] = await db.query<{ sum: number }>(sql`
    select coalesce(sum(granted), 0)::integer as sum
    from lessor.server_shares s join lessor.nodes n on n.id = s.node_id
    where heartbeat_at > clock_timestamp() - ${LEASE_MS} * interval '1 millisecond'`)
  return row?.sum ?? 0
}

/** Stands for SIGKILL: the node does nothing any more, and leaves its row. */
function kill({ nodes, state }: TestNode): void {
  state.isCutOff = true
  state.used = 0
  state.busy = 0
  void nodes.stop()
}

t.test('a node alone has all; one that joins waits for what the other gives up', async (t) => {
  const { db, url } = await openControl(t)
  const one = openNode(t, url)
  await one.nodes.start()
  t.equal(one.limit(), 12)
  fill(one, 9)
  const two = openNode(t, url)
  t.equal(two.limit(), 0, 'nothing before it has joined')
  await two.nodes.start()
  t.equal(one.limit(), 6, 'the first opens nothing new')
  t.equal(two.limit(), 3, 'and the second has what is really free')
  t.equal(await granted(db), 12)
  one.state.busy = 0
  one.state.used = 4
  await until(() => two.limit() === 6, 'the rest follows')
  t.equal(await granted(db), 12)
  t.equal(two.nodes.live, 2)
})

t.test('a node that finds the shares locked as it starts tries again', async (t) => {
  const { db, url } = await openControl(t)
  const { nodes, limit } = openNode(t, url)
  let starting: Promise<void> | undefined
  await db.transaction(async (tx) => {
    await tx.query(sql`select from lessor.servers where name = 'default' for no key update`)
    starting = nodes.start()
    const waits = async () =>
      (
        await db.query(
          sql`select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
        )
      ).length > 0
    // Its statement is cancelled after a third of a lease, and comes again.
    await until(waits, 'it waits')
    await until(async () => !(await waits()), 'its time is up')
    await until(waits, 'it waits once more')
  })
  await starting
  t.equal(limit(), 12)
})

t.test('a node that leaves gives its share back at once, one that dies after its lease', async (t) => {
  const { db, url } = await openControl(t)
  const [one, two, three] = [openNode(t, url), openNode(t, url), openNode(t, url)]
  for (const node of [one, two, three]) await node.nodes.start()
  await until(() => [one, two, three].every((node) => node.limit() === 4), 'each has a third')
  await three.nodes.stop()
  await until(() => one.limit() === 6 && two.limit() === 6, 'two have a half')
  fill(two)
  kill(two)
  t.equal(one.limit(), 6, 'not before the lease has run out')
  await until(() => one.limit() === 12, 'then the last one has all')
  t.equal(await granted(db), 12)
  t.equal(one.nodes.live, 1)
})

t.test(
  'the oldest live node watches the data servers, and the next one when it leaves or dies',
  async (t) => {
    const { url } = await openControl(t)
    const [one, two, three] = [openNode(t, url), openNode(t, url), openNode(t, url)]
    const all = [one, two, three]
    const watchers = () => all.map(({ shares }) => shares.isFirst('default'))
    t.strictSame(watchers(), [false, false, false])
    for (const node of all) await node.nodes.start()
    t.strictSame(watchers(), [true, false, false])
    t.notOk(one.shares.isFirst('elsewhere'))
    await one.nodes.stop()
    await until(() => two.shares.isFirst('default'), 'the second when the first has left')
    t.notOk(three.shares.isFirst('default'))
    kill(two)
    await until(() => three.shares.isFirst('default'), 'the third when the second has died')
  },
)

t.test('who starts after a crash on the same machine does not wait for the lease of the dead', async (t) => {
  const { url } = await openControl(t)
  const { pid = 0 } = spawnSync(process.execPath, ['--version'])
  const hour = { leaseMs: 3_600_000 }
  const [dead, elsewhere] = [openNode(t, url, { ...hour, pid, space: 'here' }), openNode(t, url, hour)]
  await dead.nodes.start()
  kill(dead)
  const after = openNode(t, url, { ...hour, space: 'here' })
  await after.nodes.start()
  t.equal(after.limit(), 12)
  // This very process has the dead one's id by now.
  const before = openNode(t, url, { ...hour, space: 'here', started: '1' })
  await after.nodes.stop()
  await before.nodes.start()
  kill(before)
  const again = openNode(t, url, { ...hour, space: 'here' })
  await again.nodes.start()
  t.equal(again.limit(), 12, 'whose id is another one’s now')
  await elsewhere.nodes.start()
  kill(elsewhere)
  await again.nodes.stop()
  const last = openNode(t, url, { ...hour, space: 'here' })
  await last.nodes.start()
  t.equal(last.limit(), 6, 'nothing is known of a process elsewhere')
})

t.test(
  'a node without a watchdog, or of before there was one, does not watch in the place of others',
  async (t) => {
    const { url, db } = await openControl(t)
    const off = openNode(t, url, { watches: false })
    const on = openNode(t, url)
    await off.nodes.start()
    t.equal(off.shares.isFirst('default'), true, 'where none watches, the oldest looks after the rest')
    await on.nodes.start()
    t.equal(on.shares.isFirst('default'), true)
    await until(() => !off.shares.isFirst('default'), 'the one that watches')
    const [row] = await db.query<{ fallback: string }>(sql`
    select column_default as fallback from information_schema.columns
    where table_schema = 'lessor' and table_name = 'server_shares' and column_name = 'watches'`)
    t.equal(row?.fallback, 'false', 'nodes of the version before do not name it')
  },
)

t.test('what does not come out even goes to the oldest, and who is too much gets nothing', async (t) => {
  const { db, url } = await openControl(t)
  const nodes = Array.from({ length: 3 }, () => openNode(t, url, { budget: 2 }))
  const [one, two, three] = nodes as [TestNode, TestNode, TestNode]
  await one.nodes.start()
  await two.nodes.start()
  await until(() => one.limit() === 1, 'one each')
  await rejectsLike(t, three.nodes.start(), { code: 'POOL_SATURATED', message: /3 nodes share/ })
  t.strictSame(
    nodes.map((node) => node.limit()),
    [1, 1, 0],
  )
  t.strictSame(three.told, ['waiting'])
  t.equal(await granted(db), 2)
  const uneven = openNode(t, url, { budget: 2 })
  await three.nodes.stop()
  await one.nodes.stop()
  await uneven.nodes.start()
  t.strictSame([two.limit(), uneven.limit()], [1, 1])
})

t.test('where nodes are configured differently the smallest budget counts', async (t) => {
  const { url } = await openControl(t)
  const one = openNode(t, url, { budget: 20 })
  await one.nodes.start()
  fill(one)
  const two = openNode(t, url, { budget: 8 })
  await two.nodes.start()
  await until(() => one.limit() === 4 && two.limit() === 4, 'half of eight each')
  t.strictSame([one.told, two.told], [[], []])
})

t.test('a node that cannot renew keeps what it has in use, and comes back to what is free', async (t) => {
  const { db, url } = await openControl(t)
  const [one, two] = [openNode(t, url), openNode(t, url)]
  await one.nodes.start()
  await two.nodes.start()
  await until(() => one.limit() === 6 && two.limit() === 6, 'half each')
  fill(two, 2)
  two.state.used = 3
  two.state.isCutOff = true
  await until(() => two.limit() === 3, 'no more than it uses')
  two.state.used = 1
  t.equal(two.limit(), 3, 'what it had when its lease ran out it may open again')
  await until(() => one.limit() === 12, 'the other has all')
  await until(() => two.told.includes('silent'), 'it has said so')
  fill(one, 10)
  two.state.used = 3
  two.state.isCutOff = false
  await until(() => two.told.includes('heard'), 'it is heard again')
  t.strictSame(two.told, ['silent', 'heard'])
  t.ok(two.state.used <= 2, 'what was not busy is closed')
  t.ok(one.limit() + two.limit() <= 12)
  one.state.busy = 0
  one.state.used = 0
  await until(() => one.limit() === 6 && two.limit() === 6, 'half each again')
  t.equal(await granted(db), 12)
})

t.test('a node without a connection in use may have one while it is cut off', async (t) => {
  const { url } = await openControl(t)
  const node = openNode(t, url)
  await node.nodes.start()
  node.state.isCutOff = true
  await until(() => node.told.length === 1, 'its lease runs out')
  t.equal(node.limit(), 1)
})

t.test('after an outage nobody takes the others for dead before they could come back', async (t) => {
  const { url } = await openControl(t)
  // Half a lease is more than the second that a retry may take.
  const lease = { leaseMs: 3_000 }
  const [one, two] = [openNode(t, url, lease), openNode(t, url, lease)]
  await one.nodes.start()
  await two.nodes.start()
  await until(() => one.limit() === 6 && two.limit() === 6, 'half each')
  for (const node of [one, two]) {
    fill(node, 6)
    node.state.isCutOff = true
  }
  await until(() => one.told.length === 1 && two.told.length === 1, 'both leases run out')
  one.state.isCutOff = false
  await until(() => one.told.includes('heard'), 'the first comes back')
  t.equal(one.limit(), 6, 'it has what it had, though the other is silent')
  two.state.isCutOff = false
  await until(() => two.told.includes('heard'), 'the second comes back')
  t.strictSame([one.limit(), two.limit()], [6, 6])
})

t.test('the sum of what nodes may open stays within the budget while they come and go', async (t) => {
  const { url } = await openControl(t)
  const budget = 20
  const all: TestNode[] = []
  let most = 0
  const watch = setInterval(() => {
    // What a node has, or may have: the greater of the two.
    most = Math.max(
      most,
      all.reduce((sum, node) => sum + Math.max(node.state.used, node.limit()), 0),
    )
    for (const node of all) {
      node.state.busy = Math.floor(Math.random() * (node.limit() + 1))
      node.state.used = Math.max(node.state.busy, Math.min(node.state.used, node.limit()))
      if (node.state.used < node.limit() && Math.random() < 0.5) node.state.used += 1
    }
  }, 2)
  t.teardown(() => clearInterval(watch))
  const join = async () => {
    const node = openNode(t, url, { budget, leaseMs: 3_000 })
    all.push(node)
    await node.nodes.start()
    return node
  }
  const [first] = await Promise.all([join(), join(), join()])
  await Promise.all([join(), join()])
  all.splice(all.indexOf(first), 1)
  first.state.used = 0
  await first.nodes.stop()
  await join()
  await until(() => all.every((node) => node.limit() === 4), 'each has a fifth')
  t.ok(most <= budget, `${most} of ${budget}`)
})

t.test('operators see the live nodes with their shares', async (t) => {
  const { db, url } = await openControl(t)
  const lease = { leaseMs: 3_000 }
  const [one, two] = [openNode(t, url, lease), openNode(t, url, lease)]
  await one.nodes.start()
  one.state.applied = 7n
  one.nodes.report()
  await two.nodes.start()
  await until(() => one.limit() === 6 && two.limit() === 6, 'half each')
  await until(async () => (await one.nodes.list())[0]?.applied === 7n, 'how far it is')
  const list = await two.nodes.list()
  like(t, list, [
    { id: one.nodes.id, name: 'test', shares: [{ server: 'default', granted: 6, used: 0 }] },
    { id: two.nodes.id, applied: 0n },
  ])
  t.ok(list.every(({ startedAt, heartbeatAt }) => startedAt <= heartbeatAt))
  await two.nodes.stop()
  t.equal((await one.nodes.list()).length, 1)
  sameRows(t, await db.query(sql`select count(*)::integer as count from lessor.server_shares`), [
    { count: 1 },
  ])
})
