import t from 'tap'
import { testDatabase } from '../support/database.ts'
import { heapUsed } from '../support/memory.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { eventually } from './eventually.ts'
import { isTenant } from './logins.ts'
import { resourcesAbove, resourcesNow } from './resources.ts'
import { Stage } from './stage.ts'

/** Until then caches fill and code is compiled. */
const WARM_UP = 30
const CYCLES = 60
/** What a lost connection would leave if the driver's handle for it stayed: 39 KB was measured. */
const HANDLE_BYTES = 39_000

t.test('connections that are lost again and again leave nothing behind', async (t) => {
  const { url } = await testDatabase(t)
  const proxy = await TcpProxy.start(t, url)
  const before = resourcesNow()
  const stage = await Stage.open(t, {
    url,
    proxy,
    environment: { LOG_LEVEL: 'silent', BREAKER_BASE_MS: '5', BREAKER_MAX_MS: '20' },
  })
  let heap = 0
  let lost = 0
  for (let cycle = 0; cycle < WARM_UP + CYCLES; cycle++) {
    if (cycle === WARM_UP) {
      heap = await heapUsed()
      lost = 0
    }
    lost += proxy.reset(isTenant)
    await Promise.all(
      stage.tenants.map(({ inject }) =>
        eventually(async () => {
          const { statusCode, body } = await inject({ url: '/v1/users' })
          return statusCode === 200 ? undefined : body
        }),
      ),
    )
  }
  await stage.settled()
  const grown = (await heapUsed()) - heap
  t.ok(lost >= CYCLES, `${lost} connections were lost`)
  t.ok(
    grown < (lost * HANDLE_BYTES) / 4,
    `the heap grew by ${Math.round(grown / lost)} bytes for each of them, no handle was kept`,
  )
  await stage.close(t)
  await proxy.close()
  await eventually(() => resourcesAbove(before))
  t.pass('no socket, server or timer is left')
})
