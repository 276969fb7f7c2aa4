import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Embedded, startEmbedded } from '../../src/embedded/start-embedded.ts'
import { postmasterPid } from '../embedded/helpers.ts'
import { withAdmin } from '../support/template.ts'

const run = promisify(execFile)

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => Promise<void>): void
}

/** The postmaster first, so that it has no more children than are listed then. */
const FREEZE = `
  kill -STOP $POSTMASTER || exit 1
  children=$(ps -A -o pid=,ppid= | awk -v parent=$POSTMASTER '$2 == parent { print $1 }')
  kill -STOP $children
  echo frozen
  read -r line
  kill -CONT $children $POSTMASTER`

/** OwnServer is a PostgreSQL of one test, which it may stop and freeze; gone with `t`. */
export class OwnServer {
  /** The superuser's URL, the same after a restart. */
  readonly url: string
  readonly #options: { readonly directory: string; readonly maxConnections: number }
  #server: Embedded

  private constructor(server: Embedded, options: { directory: string; maxConnections: number }) {
    this.url = server.url.reveal()
    this.#options = options
    this.#server = server
  }

  static async start(t: Scope, { maxConnections = 60 } = {}): Promise<OwnServer> {
    const folder = await makeFolder(t)
    const options = { directory: join(folder, 'postgres'), maxConnections }
    const server = new OwnServer(await start(options), options)
    t.teardown(() => server.#server.stop())
    return server
  }

  /**
   * startStandby makes a hot standby of a server, which is stopped for as long as its files are copied, and
   * streams from it.
   */
  static async startStandby(t: Scope, primary: OwnServer): Promise<OwnServer> {
    const { port, password, username } = new URL(primary.url)
    const conninfo = `host=127.0.0.1 port=${port} user=${username} password=${password}`
    await withAdmin(primary.url, (admin) => admin.unsafe(`alter system set primary_conninfo = '${conninfo}'`))
    const { directory: from, maxConnections } = primary.#options
    const folder = await makeFolder(t)
    const directory = join(folder, 'postgres')
    await primary.stop()
    await mkdir(directory)
    // The owner goes along: under root the files are PostgreSQL's.
    await run('cp', ['-a', join(from, 'data'), join(from, 'password'), directory])
    await run('cp', ['-a', join(directory, 'data', 'PG_VERSION'), join(directory, 'data', 'standby.signal')])
    await primary.startAgain()
    const options = { directory, maxConnections }
    const standby = new OwnServer(await start(options), options)
    t.teardown(() => standby.#server.stop())
    return standby
  }

  /** configure sets what needs a restart, and restarts. */
  async configure(settings: Readonly<Record<string, number | string>>): Promise<void> {
    await withAdmin(this.url, async (admin) => {
      for (const [name, value] of Object.entries(settings)) {
        await admin.unsafe(`alter system set ${name} = ${value}`)
      }
    })
    await this.stop()
    await this.startAgain()
  }

  /** stop ends all sessions and the server, as `pg_ctl stop -m fast` does. */
  stop(): Promise<void> {
    return this.#server.stop()
  }

  /** startAgain starts the stopped server with the same data, on the same port. */
  async startAgain(): Promise<void> {
    this.#server = await start(this.#options)
    if (this.#server.url.reveal() !== this.url) throw new Error('the server came back on another port')
  }

  /**
   * freeze stops every process of the server by SIGSTOP; what it resolves with lets them go on. A
   * process apart holds them and lets them go as soon as its input ends, whatever becomes of the test.
   */
  async freeze(): Promise<() => Promise<void>> {
    const holder = spawn('/bin/sh', ['-c', FREEZE], {
      env: { PATH: process.env.PATH ?? '', POSTMASTER: String(await postmasterPid(this.#options.directory)) },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const exited = once(holder, 'exit')
    const frozen = await Promise.race([once(holder.stdout, 'data'), exited.then(() => undefined)])
    if (frozen === undefined) throw new Error('the server could not be frozen')
    return async () => {
      holder.stdin.end()
      await exited
    }
  }
}

/** One that came back by itself after a crash would hide it from the test. */
function start(options: { readonly directory: string; readonly maxConnections: number }): Promise<Embedded> {
  return startEmbedded({ ...options, durable: false, settings: { restart_after_crash: 'off' } })
}

async function makeFolder(t: Scope): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'lessor-faults-')))
  // Under root PostgreSQL runs as another user, who must pass through.
  await chmod(folder, 0o711)
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}
