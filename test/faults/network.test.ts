import t from 'tap'
import { testDatabase } from '../support/database.ts'
import type { Opening } from '../support/opening.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { eventually } from './eventually.ts'
import { isTenant } from './logins.ts'
import { Stage } from './stage.ts'

/** What callers may be answered while logins fail. */
const UNREACHABLE = ['POOL_OPEN_FAILED', 'TENANT_UNAVAILABLE', 'SERVER_UNAVAILABLE'] as const

const { url } = await testDatabase(t)
const proxy = await TcpProxy.start(t, url)
const stage = await Stage.open(t, { url, proxy })

t.test('all connections are reset, again and again', async (t) => {
  const traffic = await stage.traffic(t)
  for (let i = 0; i < 10; i++) {
    proxy.reset()
    await stage.recovered(t, traffic)
  }
  await stage.judge(t, traffic, ['CONNECTION_LOST', 'CONTROL_UNAVAILABLE', ...UNREACHABLE])
})

t.test('everything arrives late: nothing is lost', async (t) => {
  const traffic = await stage.traffic(t)
  proxy.inflict({ kind: 'slow', upDelayMs: 20, downDelayMs: 20 })
  await stage.recovered(t, traffic)
  await proxy.heal()
  await stage.judge(t, traffic, [])
})

t.test('everything arrives slowly: nothing is lost', async (t) => {
  const traffic = await stage.traffic(t)
  proxy.inflict({ kind: 'slow', bytesPerSecond: 50_000 })
  await stage.recovered(t, traffic)
  await proxy.heal()
  await stage.judge(t, traffic, [])
})

t.test('answers are cut half-way, and so is every login after that', async (t) => {
  const traffic = await stage.traffic(t)
  proxy.inflict({ kind: 'cut', afterBytes: 100, into: 'reset' }, isTenant)
  await eventually(() => (traffic.outcomes.has('POOL_OPEN_FAILED') ? undefined : 'no login failed yet'))
  await proxy.heal()
  await stage.recovered(t, traffic)
  await stage.judge(t, traffic, ['CONNECTION_LOST', ...UNREACHABLE])
})

t.test('the server is not there: connections are refused', async (t) => {
  const traffic = await stage.traffic(t)
  proxy.refuse()
  proxy.reset()
  await eventually(() => (traffic.failed >= 100 ? undefined : `${traffic.failed} requests refused`))
  await proxy.heal()
  await stage.recovered(t, traffic)
  await stage.judge(t, traffic, ['CONNECTION_LOST', 'CONTROL_UNAVAILABLE', ...UNREACHABLE])
})

t.test('the server is not there: a proxy of theirs accepts and hangs up', async (t) => {
  const traffic = await stage.traffic(t)
  const before = proxy.openings.length
  proxy.inflict({ kind: 'hang-up' })
  await eventually(() => (traffic.failed >= 100 ? undefined : `${traffic.failed} requests refused`))
  t.comment(`${proxy.openings.length - before} connections for ${traffic.failed} requests`)
  await proxy.heal()
  await stage.recovered(t, traffic)
  await stage.judge(t, traffic, ['CONNECTION_LOST', 'CONTROL_UNAVAILABLE', ...UNREACHABLE])
})

t.test('a black hole: what was sent arrives when it closes', async (t) => {
  const traffic = await stage.traffic(t)
  proxy.inflict({ kind: 'silence' })
  await eventually(() => (traffic.failed > 12 ? undefined : `${traffic.failed} requests refused`))
  await proxy.heal()
  await stage.recovered(t, traffic)
  await stage.judge(t, traffic, [
    'CONNECTION_LOST',
    'CONTROL_UNAVAILABLE',
    'POOL_SATURATED',
    'REQUEST_TIMEOUT',
    'STATEMENT_TIMEOUT',
    ...UNREACHABLE,
  ])
})

t.test(
  'all connections fall silent for good, half-way through an answer: others take their place',
  async (t) => {
    const traffic = await stage.traffic(t)
    const present: ReadonlySet<Opening> = new Set(proxy.openings)
    proxy.inflict(
      { kind: 'cut', afterBytes: 50, into: 'silence' },
      (opening) => isTenant(opening) && present.has(opening),
    )
    await eventually(() => (traffic.failed >= 3 ? undefined : `${traffic.failed} requests lost`))
    await stage.recovered(t, traffic)
    // Until it heals, the server does not hear of the end of the silent ones.
    await proxy.heal()
    await stage.judge(t, traffic, [
      'CONNECTION_LOST',
      'POOL_SATURATED',
      'REQUEST_TIMEOUT',
      'STATEMENT_TIMEOUT',
    ])
  },
)

t.test('after all that the service closes and leaves nothing', (t) => stage.close(t))
