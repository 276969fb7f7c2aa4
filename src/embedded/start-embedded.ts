import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Secret } from '../secret.ts'
import { type Binaries, binariesFor, loadBinaries } from './binaries.ts'
import { binariesVersion, clusterVersion, createCluster, SUPERUSER } from './cluster.ts'
import { EmbeddedError } from './errors.ts'
import { type Home, prepareHome } from './home.ts'
import { acquireLock } from './lock.ts'
import { choosePort, LOOPBACK } from './port.ts'
import { Postmaster, stopLeftover } from './postmaster.ts'
import { StateDir } from './state-dir.ts'

const RETRY_MS = 250
const ATTEMPTS = 20

/**
 * Reasons in PostgreSQL's log that pass by themselves: another process took the port in between,
 * or the last children of a killed server are still about to notice.
 */
const PASSING = /could not bind IPv4 address|pre-existing shared memory block/

export interface EmbeddedOptions {
  /** Folder of the data, the password and the log; made when missing, kept between runs. */
  readonly directory: string
  readonly maxConnections?: number
  /** Further settings of the server. For tests. */
  readonly settings?: Readonly<Record<string, string>>
  /** False trades the safety of the data in a crash of the machine for speed. For tests. */
  readonly durable?: boolean
  /** Hears what an operator should know, one sentence at a time. */
  readonly log?: (message: string) => void
  /** Aborts the start; what was started is stopped. */
  readonly signal?: AbortSignal
}

/** Embedded is a running PostgreSQL server of this process alone. */
export interface Embedded {
  /** Connection URL of the superuser, with the password. */
  readonly url: Secret
  readonly port: number
  /** Resolves when the server has ended, for whatever reason. */
  readonly exited: Promise<void>
  /** stop shuts the server down, resolves when its process is gone. Memoised. */
  stop(): Promise<void>
}

/**
 * startEmbedded starts the PostgreSQL of a folder, on a free port of 127.0.0.1, and makes it on
 * first use. A server that a killed process left running there is stopped first.
 * @throws EmbeddedInUse when another live process runs it
 * @throws EmbeddedError when it cannot run, with what PostgreSQL said
 * @throws AbortError when the signal aborts
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const log = options.log ?? (() => {})
  const installed = await loadBinaries()
  const home = await prepareHome(resolve(options.directory), log)
  const lock = await acquireLock(home.path)
  try {
    const binaries = home.account === undefined ? installed : await binariesFor(home.account, installed)
    if (await stopLeftover(home)) log('Took over from a process that was killed and left PostgreSQL running')
    const password = await prepareCluster(home, binaries, options)
    const { port, postmaster } = await run(home, binaries, options)
    let stopping: Promise<void> | undefined
    return {
      url: new Secret(`postgres://${SUPERUSER}:${password.reveal()}@${LOOPBACK}:${port}/postgres`),
      port,
      exited: postmaster.exited,
      stop() {
        stopping ??= postmaster.stop().finally(() => lock.release())
        return stopping
      },
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

async function prepareCluster(home: Home, binaries: Binaries, options: EmbeddedOptions): Promise<Secret> {
  const state = await StateDir.open(home.path, options.log ?? (() => {}))
  const made = await clusterVersion(home)
  if (made === undefined) {
    const { secret } = await state.readOrCreateSecret('password', () => randomBytes(24).toString('base64url'))
    await createCluster(home, binaries, secret, options.durable ?? true)
    return secret
  }
  const version = await binariesVersion(binaries)
  if (made !== version) {
    throw new EmbeddedError(
      `The data in ${home.data} was made by PostgreSQL ${made}; the embedded one is PostgreSQL ${version} and cannot read it. Move it away to start anew.`,
    )
  }
  const password = await state.readSecret('password')
  if (password === undefined) {
    throw new EmbeddedError(
      `${home.path}/password is missing. Restore it, or move ${home.path} away to start anew.`,
    )
  }
  return password
}

async function run(
  home: Home,
  binaries: Binaries,
  options: EmbeddedOptions,
): Promise<{ port: number; postmaster: Postmaster }> {
  const signal = options.signal ?? new AbortController().signal
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted()
    const port = await choosePort(home)
    const postmaster = await Postmaster.start(binaries, home, settings(port, options))
    try {
      if (await postmaster.ready(signal)) {
        signal.throwIfAborted()
        return { port, postmaster }
      }
    } catch (error) {
      await postmaster.stop()
      throw error
    }
    const output = await postmaster.output()
    if (attempt === ATTEMPTS || !PASSING.test(output)) {
      throw new EmbeddedError(`The embedded PostgreSQL in ${home.path} does not start. It says:\n${output}`)
    }
    await sleep(RETRY_MS)
  }
}

function settings(port: number, options: EmbeddedOptions): Record<string, string> {
  const reckless = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }
  return {
    listen_addresses: LOOPBACK,
    port: String(port),
    unix_socket_directories: '',
    max_connections: String(options.maxConnections ?? 200),
    ...(options.durable === false ? reckless : {}),
    ...options.settings,
  }
}
