import { mock } from 'node:test'
import { getTasks } from 'node-cron'
import t, { type Test } from 'tap'
import { loadConfig } from '../src/config.ts'
import { ControlDatabase } from '../src/control/control-database.ts'
import { createLogger } from '../src/http/logger.ts'
import { createLessor } from '../src/lessor.ts'
import { sql } from '../src/pool/statement.ts'
import { generateVaultKeys } from '../src/vault/key-ring.ts'
import { testDatabase } from './support/database.ts'
import { rejectsLike } from './support/like.ts'
import { PATIENT } from './support/patient.ts'
import { UNWATCHED } from './support/unwatched.ts'

// What a close waits for, in which order, and that nothing begins after it.

/** A Lessor that has not started, and what is told of its close: `ended` is what has come to its end, in order. */
async function makeLessor(t: Test, environment: Record<string, string> = UNWATCHED) {
  const { url } = await testDatabase(t)
  const config = loadConfig({
    ...PATIENT,
    DATABASE_URL: url,
    OPERATOR_KEY: 'o'.repeat(40),
    VAULT_KEYS: generateVaultKeys(),
    ...environment,
  })
  const { logger } = createLogger('silent', { write() {} })
  const lessor = createLessor(config, { logger })
  t.teardown(() => lessor.close())
  const other = new ControlDatabase({ url, maxConnections: 1 })
  t.teardown(() => other.close())
  const ended: string[] = []
  for (const [part, it] of [
    ['pools', lessor.pools],
    ['servers', lessor.servers],
    ['control', lessor.control],
  ] as const) {
    const close = it.close.bind(it)
    mock.method(it, 'close', async () => {
      ended.push(`${part} begin`)
      return close()
    })
  }
  return {
    lessor,
    ended,
    other,
    /** Gives a close that waits for nothing the time to come to its end. */
    async look(): Promise<void> {
      for (let look = 0; look < 50; look++) await other.query(sql`select from lessor.nodes`)
    },
  }
}

/** Holds those who come until it is let go; `came` resolves with the first one. */
function makeGate() {
  const [came, open] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  return {
    came: came.promise,
    open: open.resolve,
    async pass(): Promise<void> {
      came.resolve()
      await open.promise
    },
  }
}

t.test('a close waits until the lease is given back, and has the control database for it', async (t) => {
  const { ended, lessor, look, other } = await makeLessor(t)
  await lessor.start()
  const gate = makeGate()
  const stop = lessor.nodes.stop.bind(lessor.nodes)
  mock.method(lessor.nodes, 'stop', async () => {
    await gate.pass()
    await stop()
    ended.push('lease')
  })
  const closing = lessor.close()
  await gate.came
  await look()
  t.strictSame(ended, ['pools begin'], 'only the lease is left when no connection is')
  gate.open()
  await closing
  t.strictSame(ended, ['pools begin', 'lease', 'servers begin', 'control begin'])
  t.strictSame([...(await other.query(sql`select from lessor.nodes`))], [])
})

t.test('a close waits for a trial of the walls, which needs the pools', async (t) => {
  const { ended, lessor, look } = await makeLessor(t)
  await lessor.start()
  // Without one there are no walls to try.
  await lessor.tenants.onboard({ name: 'acme' })
  const gate = makeGate()
  const admin = lessor.servers.admin.bind(lessor.servers)
  mock.method(lessor.servers, 'admin', async (name: string) => {
    await gate.pass()
    return admin(name)
  })
  const trial = rejectsLike(t, lessor.isolation.run(), { code: 'SHUTTING_DOWN' }).then(() =>
    ended.push('trial'),
  )
  await gate.came
  const closing = lessor.close()
  await look()
  t.strictSame(ended, [])
  gate.open()
  await Promise.all([trial, closing])
  t.strictSame(ended, ['trial', 'pools begin', 'servers begin', 'control begin'])
})

t.test('a close waits for a look of the watchdog at a data server', async (t) => {
  const { ended, lessor, look } = await makeLessor(t, { WATCHDOG_INTERVAL_MS: '100' })
  const gate = makeGate()
  mock.method(lessor.servers, 'login', async () => {
    await gate.pass()
    ended.push('look')
    // It would end the sessions of other tests.
    throw new Error('it is away')
  })
  await lessor.start()
  await gate.came
  const closing = lessor.close()
  await look()
  t.strictSame(ended, [])
  gate.open()
  await closing
  t.strictSame(ended, ['look', 'pools begin', 'servers begin', 'control begin'])
})

t.test('no step of recovery begins after a close', async (t) => {
  const { lessor } = await makeLessor(t)
  const tasks = mock.method(lessor.tasks, 'run')
  await lessor.start()
  const [started, schedules] = [tasks.mock.callCount(), [...getTasks().values()]]
  t.ok(started > 0, 'each began with the service')
  t.ok(schedules.length > 0)
  await lessor.close()
  t.equal(getTasks().size, 0)
  // As when the time of the next one comes.
  for (const left of getTasks().values()) await left.execute()
  t.equal(tasks.mock.callCount(), started)
})
