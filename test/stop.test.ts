import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { inheritedPostgres, testedVersion } from './postgres/environment.ts'
import { compileCache } from './support/compile-cache.ts'
import { excludes } from './support/like.ts'
import { startService } from './support/service.ts'

// How the service ends, and that no PostgreSQL is left then.
t.setTimeout(300_000)

/** Resolves when `is` holds; the test's own timeout is the limit. */
async function until(is: () => boolean): Promise<void> {
  while (!is()) await sleep(5)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // It may be dead and not yet reaped.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** The embedded PostgreSQL of a service with this STATE_DIR. */
function postmasterOf(stateDir: string): number {
  const data = join(stateDir, 'postgres', 'data')
  if (readFileSync(join(data, 'PG_VERSION'), 'utf8') !== `${testedVersion()}\n`)
    throw new Error('bug: another version')
  return Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
}

/** `npm start` in a process group of its own, as a terminal gives it, listening. */
async function npmStart(t: Test, environment: Record<string, string> = {}) {
  const npm = spawn('npm', ['start', '--silent'], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: {
      PATH: process.env.PATH ?? '',
      ...inheritedPostgres(),
      ...compileCache(),
      HOME: t.testdir(),
      STATE_DIR: t.testdirName,
      PORT: '0',
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  })
  let output = ''
  npm.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  t.teardown(() => npm.kill('SIGKILL'))
  const exited = once(npm, 'exit')
  await until(() => output.includes('Server listening'))
  const [, pid] = /"pid":(\d+)/.exec(output) ?? []
  const [, url] = /Server listening at (http:[^"]+)"/.exec(output) ?? []
  const postmaster = postmasterOf(t.testdirName)
  return {
    url,
    kill: (signal: NodeJS.Signals) => npm.kill(signal),
    killGroup: (signal: NodeJS.Signals) => process.kill(-(npm.pid ?? 0), signal),
    said: () => output,
    /** Resolves when the service has ended, with whether PostgreSQL is alive then. */
    async ended() {
      await exited
      await until(() => !isAlive(Number(pid)))
      return { isLeft: isAlive(postmaster) }
    },
  }
}

t.test('SIGTERM to `npm start` reaches the service, and no PostgreSQL is left', async (t) => {
  const { kill, said, ended } = await npmStart(t)
  kill('SIGTERM')
  t.equal((await ended()).isLeft, false)
  t.match(said(), /"stopped"/)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(
    `${signal} to its whole group, as of Ctrl-C, ends requests in order, and no PostgreSQL is left`,
    async (t) => {
      const { url, killGroup, said, ended } = await npmStart(t, { SHUTDOWN_DELAY_MS: '5000' })
      killGroup(signal)
      await until(() => said().includes('shutting down'))
      const answer = await fetch(`${url}/livez`)
      t.equal(answer.status, 200, 'it serves for as long as balancers may send requests')
      await answer.body?.cancel()
      t.equal((await ended()).isLeft, false)
      t.match(said(), /"stopped"/)
      excludes(t, said(), /exiting at once/)
    },
  )
}

async function embeddedService(t: Test, environment: Record<string, string>) {
  const service = startService(t, { directory: t.testdir(), environment })
  await service.listening()
  return { service, postmaster: postmasterOf(join(t.testdirName, '.lessor')) }
}

t.test('a signal of one who does not want to wait ends it at once, and PostgreSQL with it', async (t) => {
  const { service, postmaster } = await embeddedService(t, {
    SHUTDOWN_DELAY_MS: '60000',
    SHUTDOWN_TIMEOUT_MS: '120000',
  })
  service.kill('SIGINT')
  await until(() => service.stdout().includes('shutting down'))
  await sleep(2_100)
  service.kill('SIGINT')
  t.equal(await service.exited, 1)
  t.match(service.stdout(), /another signal, exiting at once/)
  await until(() => !isAlive(postmaster))
  t.equal(isAlive(postmaster), false)
})

t.test(
  'a signal while an uncaught error ends the service changes neither order nor exit status',
  async (t) => {
    const service = startService(t, {
      directory: t.testdir(),
      environment: { SHUTDOWN_DELAY_MS: '2000' },
      preload: `process.once('SIGWINCH', () => { throw new TypeError('out of nowhere') })`,
    })
    await service.listening()
    const postmaster = postmasterOf(join(t.testdirName, '.lessor'))
    service.kill('SIGWINCH')
    await until(() => service.stdout().includes('uncaught error'))
    service.kill('SIGTERM')
    t.equal(await service.exited, 1)
    t.strictSame(
      service
        .logged()
        .filter(({ msg }) => msg === 'stopped' || msg === 'shutting down')
        .map(({ msg }) => msg),
      ['stopped'],
    )
    t.equal(isAlive(postmaster), false)
  },
)

t.test(
  'a signal while a failed start closes what it had opened changes neither order nor exit status',
  async (t) => {
    const taken = createServer().listen(0, '127.0.0.1')
    t.teardown(() => taken.close())
    await once(taken, 'listening')
    const address = taken.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const service = startService(t, {
      directory: t.testdir(),
      environment: { PORT: `${port}`, SHUTDOWN_DELAY_MS: '5000' },
    })
    await until(() => service.stderr().includes('is in use'))
    const postmaster = postmasterOf(join(t.testdirName, '.lessor'))
    service.kill('SIGTERM')
    t.equal(await service.exited, 1)
    t.equal(isAlive(postmaster), false)
    t.match(service.stdout(), /shutting down/)
    excludes(t, service.stdout(), /"stopped"/)
  },
)
