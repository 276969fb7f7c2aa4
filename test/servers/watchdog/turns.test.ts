import t from 'tap'
import { systemClock } from '../../../src/clock.ts'
import { loadConfig } from '../../../src/config.ts'
import type { DatabaseAddress } from '../../../src/control/database-url.ts'
import { createLogger } from '../../../src/http/logger.ts'
import { Watchdog } from '../../../src/servers/watchdog/watchdog.ts'
import type { TaskName } from '../../../src/tasks.ts'
import { createWatchServices } from '../../../src/watch-services.ts'
import { LAX } from './stage.ts'

const NO_LOGINS = {
  block: async () => {},
  list: async () => [],
  whileBlocked: async () => {},
  current: async () => undefined,
}

t.test('a turn counts once, with the data servers whose last look has failed', async (t) => {
  const failures: number[] = []
  const hanging = Promise.withResolvers<DatabaseAddress>()
  let own = ['away', 'hanging']
  const watchdog = new Watchdog({
    servers: {
      names: () => own,
      login: (server) => (server === 'hanging' ? hanging.promise : Promise.reject(new Error('away'))),
    },
    isWatcher: () => true,
    clock: systemClock,
    intervalMs: 3_600_000,
    limits: () => LAX,
    offences: { count: 3, withinMs: 1 },
    logins: NO_LOGINS,
    observer: { ended() {}, blocked() {}, failed() {}, passed() {} },
    onTurn: (count) => failures.push(count),
  })
  const first = watchdog.turn()
  while (failures.length < 1) {
    await new Promise(setImmediate)
    await watchdog.turn()
  }
  await watchdog.turn()
  t.strictSame(failures, [1, 1], 'the one that hangs has not failed yet, and holds up no turn but its own')
  hanging.reject(new Error('it has hung up'))
  await first
  t.strictSame(failures, [1, 1, 2], 'and fails once')
  await watchdog.turn()
  t.strictSame(failures.slice(3), [2], 'a turn counts once, be two of its servers away')
  own = ['away']
  await watchdog.turn()
  t.strictSame(failures.slice(4), [1], 'a data server that another process watches does not count')
  own = []
  await watchdog.turn()
  t.strictSame(failures.slice(5), [0])
  await watchdog.stop()
})

t.test('the looks of a service are counted as its task', async (t) => {
  const ended: [TaskName, number][] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const { logger } = createLogger('silent', { write: () => {} })
  const services = createWatchServices({
    config: loadConfig({ WATCHDOG: 'on' }),
    logger,
    clock: systemClock,
    servers: {
      names: () => ['away'],
      login: () => Promise.reject(new Error('away')),
      admin: () => Promise.reject(new Error('away')),
    },
    shares: { isFirst: () => true },
    tasks: {
      begin: () => () => {},
      ended(task, failures) {
        ended.push([task, failures])
        resolve()
      },
    },
    logins: NO_LOGINS,
    nodes: () => 1,
    async *allLogins() {},
    connectionLimit: () => 8,
  })
  services.start()
  await promise
  await services.stop()
  t.strictSame(ended[0], ['watchdog', 1])
})
