import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { Agent, createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ControlDatabase } from '../src/control/control-database.ts'
import { sql } from '../src/pool/statement.ts'
import { generateVaultKeys } from '../src/vault/key-ring.ts'
import { testDatabase } from './support/database.ts'
import { excludes, like, throwsLike } from './support/like.ts'
import { PATIENT } from './support/patient.ts'
import { type Service, startService } from './support/service.ts'

const OPERATOR_KEY = 'operator-key-for-the-tests-0123456789'

interface Scope {
  teardown(fn: () => Promise<void>): void
}

/** Resolves when `is` holds; the test's own timeout is the limit. */
async function until(is: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await is())) await sleep(5)
}

async function onboard(url: string, operatorKey = OPERATOR_KEY): Promise<string> {
  const response = await fetch(`${url}/v1/tenants`, {
    method: 'POST',
    headers: { authorization: `Bearer ${operatorKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'acme' }),
  })
  const { api_key } = (await response.json()) as { api_key: { key: string } }
  return api_key.key
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // Nobody may have reaped it yet.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

interface Running {
  readonly service: Service
  readonly url: string
  /** Resolves with the status of the answer. */
  readonly answer: Promise<number>
  /** Lets the request go on. */
  release(): Promise<void>
}

/** A service on a database of its own with one request under way, which waits for a lock at the server. */
async function startBusy(t: Scope, directory: string, environment: Record<string, string>): Promise<Running> {
  const database = await testDatabase(t)
  const service = startService(t, {
    directory,
    environment: {
      DATABASE_URL: database.url,
      OPERATOR_KEY,
      VAULT_KEYS: generateVaultKeys(),
      ...PATIENT,
      ...environment,
    },
  })
  const url = await service.listening()
  const headers = { authorization: `Bearer ${await onboard(url)}` }
  const control = new ControlDatabase({ url: database.url })
  t.teardown(() => control.close())
  const release = Promise.withResolvers<void>()
  const locked = Promise.withResolvers<void>()
  const holder = control.transaction(async (tx) => {
    await tx.query(sql`lock table app.users in access exclusive mode`)
    locked.resolve()
    await release.promise
  })
  await locked.promise
  // Unlike fetch, this client would keep its connection open for as long as the service lets it.
  const agent = new Agent({ keepAlive: true })
  t.teardown(async () => agent.destroy())
  const answer = once(get(`${url}/v1/users`, { agent, headers }), 'response').then(([response]) => {
    response.resume()
    return Number(response.statusCode)
  })
  await until(async () => {
    const waiting = await control.query(
      sql`select from pg_stat_activity
          where datname = current_database() and usename like 't__%' and wait_event_type = 'Lock'`,
    )
    return waiting.length === 1
  })
  return {
    service,
    url,
    answer,
    async release() {
      release.resolve()
      await holder
    },
  }
}

t.test('the first start makes the keys and prints a call that works, a later one uses them', async (t) => {
  const directory = t.testdir()
  const first = startService(t, { directory })
  const url = await first.listening()
  await until(() => first.stderr().includes('curl'))
  const keyFile = join(directory, '.lessor', 'operator-key')
  const operatorKey = readFileSync(keyFile, 'utf8').trim()
  const vaultKeys = readFileSync(join(directory, '.lessor', 'vault-keys'), 'utf8').trim()
  t.equal(statSync(keyFile).mode & 0o777, 0o600)
  t.equal(statSync(join(directory, '.lessor', 'vault-keys')).mode & 0o777, 0o600)
  t.ok(first.stderr().includes(`API docs      ${url}/docs`))
  t.ok(first.stderr().includes(`Operator key  ${operatorKey}`))
  t.equal((await fetch(`${url}/docs`)).status, 200)

  const [curl = ''] = /curl .*/.exec(first.stderr()) ?? []
  const answer = JSON.parse(
    execFileSync('sh', ['-c', `${curl} --silent`], { cwd: directory, encoding: 'utf8' }),
  )
  like(t, answer, { tenant: { name: 'acme', status: 'active' } })
  const headers = { authorization: `Bearer ${answer.api_key.key}`, 'content-type': 'application/json' }
  const body = JSON.stringify({ first_name: 'Ada', last_name: 'Lovelace' })
  t.equal((await fetch(`${url}/v1/users`, { method: 'POST', headers, body })).status, 201)

  const postmaster = join(directory, '.lessor', 'postgres', 'data', 'postmaster.pid')
  const postgres = Number(readFileSync(postmaster, 'utf8').split('\n')[0])
  t.ok(isAlive(postgres))
  first.kill('SIGTERM')
  t.equal(await first.exited, 0)
  t.notOk(isAlive(postgres), 'no PostgreSQL is left')

  const second = startService(t, { directory })
  const again = await second.listening()
  await until(() => second.stderr().includes('curl'))
  t.notOk(second.stderr().includes(operatorKey), 'the key is printed only once')
  t.ok(second.stderr().includes('.lessor/operator-key'))
  like(t, await (await fetch(`${again}/v1/users`, { headers })).json(), { total: 1 })
  const [curlAgain = ''] = /curl .*/.exec(second.stderr()) ?? []
  const taken = execFileSync('sh', ['-c', `${curlAgain} --silent`], { cwd: directory, encoding: 'utf8' })
  t.equal(JSON.parse(taken).code, 'TENANT_NAME_TAKEN', 'its curl line works as well')
  second.kill('SIGINT')
  t.equal(await second.exited, 0)

  const password = readFileSync(join(directory, '.lessor', 'postgres', 'password'), 'utf8').trim()
  const log = first.stdout() + second.stdout()
  const [, hex = ''] = vaultKeys.split(':')
  for (const secret of [operatorKey, hex, answer.api_key.key, password, 'Bearer']) {
    t.ok(secret.length > 5)
    t.notOk(log.includes(secret))
  }
})

t.test('a second service on the same folder says so, and the first one goes on', async (t) => {
  const directory = t.testdir()
  const first = startService(t, { directory })
  const url = await first.listening()
  const second = startService(t, { directory })
  t.equal(await second.exited, 1)
  t.match(second.stderr(), /is in use by another process/)
  t.equal((await fetch(`${url}/readyz`)).status, 200)
})

t.test('on SIGTERM it is not ready at once, and a request under way ends with 200', async (t) => {
  const { service, url, answer, release } = await startBusy(t, t.testdir(), {
    SHUTDOWN_DELAY_MS: '60000',
    SHUTDOWN_TIMEOUT_MS: '120000',
  })
  t.equal((await fetch(`${url}/readyz`)).status, 200)
  service.kill('SIGTERM')
  await until(() => service.stdout().includes('shutting down'))
  const ready = await fetch(`${url}/readyz`)
  t.equal(ready.status, 503)
  like(t, await ready.json(), { reasons: ['The service is shutting down'] })
  await release()
  t.equal(await answer, 200)
})

t.test('it exits 0 when the last request has its answer, though connections are kept alive', async (t) => {
  const { service, url, answer, release } = await startBusy(t, t.testdir(), {})
  service.kill('SIGTERM')
  await until(() => service.stdout().includes('shutting down'))
  await until(() =>
    fetch(`${url}/livez`).then(
      () => false,
      () => true,
    ),
  )
  await release()
  t.equal(await answer, 200)
  t.equal(await service.exited, 0)
  like(t, service.logged().at(-1), { msg: 'stopped' })
  excludes(t, service.stdout(), /drain deadline/, 'no connection had to be cut')
})

t.test('a request of five seconds survives the eviction of its pool and SIGTERM', async (t) => {
  const { service, url, answer, release } = await startBusy(t, t.testdir(), {})
  const headers = { authorization: `Bearer ${OPERATOR_KEY}` }
  const pools = async () => {
    const response = await fetch(`${url}/ops/pools`, { headers })
    const { records } = (await response.json()) as { records: { tenant_id: string; state: string }[] }
    return records
  }
  const [pool] = await pools()
  const evicted = fetch(`${url}/ops/pools/${pool?.tenant_id}/evict`, { method: 'POST', headers })
  await until(async () => (await pools())[0]?.state === 'draining')
  service.kill('SIGTERM')
  await until(() => service.stdout().includes('shutting down'))
  await sleep(5_000)
  await release()
  t.equal(await answer, 200)
  t.ok((await evicted).ok)
  t.equal(await service.exited, 0)
})

t.test('a request that outlasts the drain deadline is cut, and the exit is still clean', async (t) => {
  const { service, answer, release } = await startBusy(t, t.testdir(), {
    POOL_DRAIN_TIMEOUT_MS: '300',
    SHUTDOWN_TIMEOUT_MS: '20000',
  })
  service.kill('SIGTERM')
  t.equal(await answer, 503, 'its statement is cancelled at the server, and it is told')
  t.equal(await service.exited, 0)
  t.ok(service.logged().some(({ msg }) => String(msg).includes('drain deadline')))
  const report = service.logged().find(({ msg }) => msg === 'pools closed')
  like(t, report, { leases: 1, statementsCut: 1, waitersCut: 0 })
  await release()
})

t.test('an uncaught error is logged, and the process exits 1 after its requests', async (t) => {
  const database = await testDatabase(t)
  const service = startService(t, {
    directory: t.testdir(),
    environment: { DATABASE_URL: database.url, OPERATOR_KEY, VAULT_KEYS: generateVaultKeys() },
    preload: `process.once('SIGWINCH', () => { throw new TypeError('out of nowhere') })`,
  })
  await service.listening()
  service.kill('SIGWINCH')
  t.equal(await service.exited, 1)
  const fatal = service.logged().find(({ level }) => level === 60)
  like(t, fatal, { err: { type: 'TypeError', message: 'out of nowhere' } })
  like(t, service.logged().at(-1), { msg: 'stopped' })
})

t.test('a port in use is said in one sentence', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => holder.once('listening', resolve))
  t.teardown(() => holder.close())
  const { port } = holder.address() as AddressInfo
  const database = await testDatabase(t)
  const service = startService(t, {
    directory: t.testdir(),
    environment: {
      DATABASE_URL: database.url,
      OPERATOR_KEY,
      VAULT_KEYS: generateVaultKeys(),
      PORT: String(port),
    },
  })
  t.equal(await service.exited, 1)
  t.match(service.stderr(), new RegExp(`^Port ${port} of 127.0.0.1 is in use\\. .*PORT`))
})

t.test('in production nothing is made: what is missing is named, all at once', async (t) => {
  const directory = t.testdir()
  const service = startService(t, { directory, environment: { NODE_ENV: 'production', PORT: 'http' } })
  t.equal(await service.exited, 1)
  for (const name of ['PORT', 'DATABASE_URL', 'OPERATOR_KEY', 'VAULT_KEYS']) {
    t.match(service.stderr(), new RegExp(`^ {2}${name} must be`, 'm'))
  }
  t.equal(service.stdout(), '')
  throwsLike(t, () => statSync(join(directory, '.lessor')), { code: 'ENOENT' })
})

t.test('a database that is not there is said in one sentence', async (t) => {
  const service = startService(t, {
    directory: t.testdir(),
    environment: {
      DATABASE_URL: 'postgres://nobody:hidden-password@127.0.0.1:1/nothing',
      OPERATOR_KEY,
      VAULT_KEYS: generateVaultKeys(),
    },
  })
  t.equal(await service.exited, 1)
  t.match(service.stderr(), /^The control database could not be reached\. .*ECONNREFUSED/)
  excludes(t, service.stderr() + service.stdout(), /hidden-password/)
})

t.test(
  'VAULT_KEYS that are not those of the database are said in one sentence, with ids and no key',
  async (t) => {
    const { url } = await testDatabase(t)
    const [one, two, other] = ['1a', '2b', '3c'].map((byte) => byte.repeat(32))
    const start = (vaultKeys: string) =>
      startService(t, {
        directory: t.testdir(),
        environment: { DATABASE_URL: url, OPERATOR_KEY, VAULT_KEYS: vaultKeys, ...PATIENT },
      })
    const first = start(`k1:${one}`)
    await onboard(await first.listening())
    first.kill('SIGTERM')
    t.equal(await first.exited, 0)

    const lacking = start(`k2:${two}`)
    t.equal(await lacking.exited, 1)
    t.equal(
      lacking.stderr(),
      'VAULT_KEYS lacks the key "k1", which is in use in this control database: put it behind the first key, which seals, and start again.\n',
    )
    const foreign = start(`k1:${other}`)
    t.equal(await foreign.exited, 1)
    t.match(foreign.stderr(), /^The key "k1" of VAULT_KEYS is not the one that this control database knows/)
    for (const { stderr, stdout } of [lacking, foreign]) {
      excludes(t, stderr() + stdout(), /(1a|2b|3c){8}/)
      excludes(t, stdout(), /Server listening/)
    }

    const moved = start(`k2:${two},k1:${one}`)
    t.equal((await fetch(`${await moved.listening()}/readyz`)).status, 200)
  },
)
