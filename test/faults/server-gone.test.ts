import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { eventually } from './eventually.ts'
import { OwnServer } from './own-server.ts'
import { Stage } from './stage.ts'

/** What callers may be answered while logins fail. */
const UNREACHABLE = ['POOL_OPEN_FAILED', 'TENANT_UNAVAILABLE', 'SERVER_UNAVAILABLE'] as const
/** Many times what a statement, a login and a wait for a connection may take; see Stage. */
const FROZEN_MS = 10_000

const server = await OwnServer.start(t)
const stage = await Stage.open(t, { url: server.url })

t.test('PostgreSQL is restarted under load', async (t) => {
  const traffic = await stage.traffic(t)
  await server.stop()
  await eventually(() => (traffic.failed >= 50 ? undefined : `${traffic.failed} requests refused`))
  await server.startAgain()
  await stage.recovered(t, traffic)
  await stage.judge(t, traffic, ['CONNECTION_LOST', 'CONTROL_UNAVAILABLE', 'POOL_SATURATED', ...UNREACHABLE])
})

t.test('PostgreSQL stands still, every process of it', async (t) => {
  const traffic = await stage.traffic(t)
  const thaw = await server.freeze()
  await sleep(FROZEN_MS)
  t.ok(traffic.failed > 0, `${traffic.failed} requests gave up`)
  await thaw()
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

t.test('after all that the service closes and leaves nothing', (t) => stage.close(t))
