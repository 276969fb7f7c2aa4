import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { testDatabase } from '../support/database.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { eventually } from './eventually.ts'
import { isControl } from './logins.ts'
import { Stage } from './stage.ts'

/** Longer than any key or tenant is remembered without a look-up; see API_KEY_CACHE_SECONDS. */
const MINUTE_MS = 61_000

/** A clock that a test moves on. */
const clock = {
  aheadMs: 0,
  now() {
    return systemClock.now() + this.aheadMs
  },
}

const { url } = await testDatabase(t)
const proxy = await TcpProxy.start(t, url)
const stage = await Stage.open(t, { url, proxy, clock, tenants: 4, environment: { CHANGE_POLL_MS: '50' } })
const [evicted, ...resident] = stage.tenants
if (evicted === undefined) throw new Error('bug in the test: no tenant')

/** ready resolves when the service says that it is ready, or is not. */
function ready(isReady: boolean): Promise<number> {
  return eventually(async () => {
    const { statusCode, body } = await stage.service.app.inject({ url: '/readyz' })
    return statusCode === (isReady ? 200 : 503) ? undefined : body
  })
}

function codeOf(answer: { json(): { code?: string } }): string | undefined {
  return answer.json().code
}

for (const kind of ['reset', 'silence'] as const) {
  t.test(`the control database is gone for a minute (${kind}): who is resident is served on`, async (t) => {
    await stage.pools.evict(evicted.id, 'operator')
    const before = await stage.traffic(t, { tenants: resident })
    proxy.inflict({ kind }, isControl)
    if (kind === 'reset') proxy.reset(isControl)
    await ready(false)
    // Nothing is under way while the clock leaps, or it would have taken too long.
    await before.stop()
    await stage.settled()
    clock.aheadMs += MINUTE_MS
    const traffic = await stage.traffic(t, { tenants: resident })
    await eventually(() => traffic.unserved(20))
    t.equal(before.failed + traffic.failed, 0, `no request of ${before.total + traffic.total} failed`)

    const cold = await evicted.inject({ url: '/v1/users' })
    t.ok([503, 504].includes(cold.statusCode), `a pool cannot be opened meanwhile: ${codeOf(cold)}`)
    const stranger = await stage.service.app.inject({
      url: '/v1/users',
      headers: { authorization: `Bearer ${evicted.key.slice(0, -1)}x` },
    })
    t.ok([401, 503, 504].includes(stranger.statusCode), `an unknown key is not let in: ${codeOf(stranger)}`)

    await proxy.heal()
    await ready(true)
    await eventually(async () => {
      const { statusCode, body } = await evicted.inject({ url: '/v1/users' })
      return statusCode === 200 ? undefined : body
    })
    await stage.judge(t, traffic, [])
  })
}

t.test('after all that the service closes and leaves nothing', (t) => stage.close(t))
