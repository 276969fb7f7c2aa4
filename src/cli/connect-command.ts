import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, constants, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { hostname, constants as osConstants, tmpdir, userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Environment } from '../config.ts'
import { LessorError } from '../errors.ts'
import { parseTenantId } from '../tenants/tenant.ts'
import type { TenantService } from '../tenants/tenant-service.ts'
import type { Visit } from '../tenants/visits.ts'
import type { CliIo, Command } from './command.ts'
import { CONNECT_USAGE, type ConnectOptions, parseConnectArgs } from './connect-options.ts'
import {
  certificateLines,
  certificatesOf,
  psqlEnvironment,
  shellLines,
  visitEnvironment,
} from './visit-environment.ts'
import { withLessor } from './with-lessor.ts'

/** connectCommand lets a person into one tenant. */
export const connectCommand: Command = {
  name: 'connect',
  summary: 'Start psql as one tenant, by a login that ends soon',
  usage: CONNECT_USAGE,
  // Ctrl-C is for psql, and must not keep the login from being dropped: see PsqlSignals.
  ownsSignals: true,
  async run(args, io) {
    try {
      return await run(args, io)
    } catch (error) {
      // What is printed is run by `eval`, which would go on to a psql without a login if there were nothing.
      if (isPrinted(args)) io.stdout.write('false\n')
      throw error
    }
  },
}

/** Whether the arguments ask for a login in print, be the others wrong. */
function isPrinted(args: readonly string[]): boolean {
  return args.slice(0, args.includes('--') ? args.indexOf('--') : undefined).includes('--print')
}

async function run(args: readonly string[], io: CliIo): Promise<number> {
  const options = parseConnectArgs(args)
  const signals = new PsqlSignals()
  try {
    const psql = options.prints ? undefined : await findProgram('psql', io.environment)
    const { signal } = signals
    return await withLessor(
      { ...io, signal },
      ({ tenants }) => connect(tenants, options, psql, io, signals),
      'control',
    )
  } catch (error) {
    if (signals.status === undefined) throw error
    // What it was waiting for may have failed for another reason meanwhile.
    io.stderr.write('lessor connect: interrupted\n')
    if (options.prints) io.stdout.write('false\n')
    return signals.status
  } finally {
    signals.close()
  }
}

async function connect(
  tenants: TenantService,
  options: ConnectOptions,
  psql: string | undefined,
  io: CliIo,
  signals: PsqlSignals,
): Promise<number> {
  const { visits } = tenants
  await visits.sweep()
  signals.signal.throwIfAborted()
  const { minutes, writes } = options
  const tenantId = await findTenant(tenants, options)
  const visit = await visits.open({ tenantId, visitor: whoAmI(io.environment), minutes, writes })
  let isLeft = false
  try {
    signals.signal.throwIfAborted()
    io.stderr.write(`${describe(visit, writes)}\n`)
    if (psql === undefined) {
      if (!options.prints) io.stderr.write('psql is not installed here; this is the login:\n')
      const pem = certificatesOf(visit)
      io.stdout.write(shellLines(visitEnvironment(visit)) + (pem === undefined ? '' : certificateLines(pem)))
      isLeft = true
      return 0
    }
    return await withCertificates(visit, (variables) => {
      const env = { ...psqlEnvironment(visit, io.environment), ...variables }
      return runPsql(signals, psql, options.psqlArgs, env)
    })
  } finally {
    if (!isLeft) await visits.close(visit)
  }
}

/** withCertificates has the root certificates in a file for as long as `run` runs, where they lie in none. */
async function withCertificates<T>(
  visit: Visit,
  run: (variables: Readonly<Record<string, string>>) => Promise<T>,
): Promise<T> {
  const pem = certificatesOf(visit)
  if (pem === undefined) return run({})
  const folder = await mkdtemp(join(tmpdir(), 'lessor-connect-'))
  try {
    const path = join(folder, 'root.pem')
    await writeFile(path, pem)
    return await run({ PGSSLROOTCERT: path })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function findTenant(tenants: TenantService, { tenant, namespace }: ConnectOptions): Promise<string> {
  const id = parseTenantId(tenant)
  if (id !== undefined) return id
  const { records } = await tenants.list({ name: tenant, namespace: namespace ?? 'default', limit: 1 })
  const [found] = records
  if (found !== undefined) return found.id
  throw new LessorError(
    'TENANT_NOT_FOUND',
    `The namespace "${namespace ?? 'default'}" has no tenant "${tenant}".`,
  )
}

function describe({ tenant, role, validUntil }: Visit, writes: boolean): string {
  const how = writes ? 'may write' : 'read only'
  return `Tenant "${tenant.name}" (${tenant.id}), ${how}, as ${role} until ${validUntil.toISOString()}.`
}

/** runPsql resolves with psql's exit status; it has the terminal, and so the secret is in its environment alone. */
async function runPsql(
  signals: PsqlSignals,
  psql: string,
  args: readonly string[],
  env: Record<string, string | undefined>,
): Promise<number> {
  const child = signals.start(() => spawn(psql, args, { env, stdio: 'inherit' }))
  const [status, signal]: [number | null, NodeJS.Signals | null] = (await once(child, 'exit')) as never
  return status ?? statusOf(signal)
}

/** The exit status of a process that a signal ended. */
function statusOf(signal: NodeJS.Signals | null): number {
  return 128 + (signal === null ? 0 : osConstants.signals[signal])
}

/**
 * PsqlSignals keeps signals from ending this process while there is a login to drop. Before psql runs, each of them ends
 * the command in order; then SIGTERM and SIGHUP are passed to psql, and SIGINT is not: a terminal sends it to psql as
 * well, which cancels its statement.
 */
class PsqlSignals {
  readonly #stop = new AbortController()
  #child: ChildProcess | undefined
  #status: number | undefined

  constructor() {
    process.on('SIGINT', this.#hear).on('SIGTERM', this.#hear).on('SIGHUP', this.#hear)
  }

  /** Aborts when the command must not go on to psql. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** The exit status, once a signal has ended the command before psql ran. */
  get status(): number | undefined {
    return this.#status
  }

  /** start makes signals psql's. @throws what `signal` aborts with */
  start(spawnPsql: () => ChildProcess): ChildProcess {
    this.signal.throwIfAborted()
    this.#child = spawnPsql()
    return this.#child
  }

  close(): void {
    process.off('SIGINT', this.#hear).off('SIGTERM', this.#hear).off('SIGHUP', this.#hear)
  }

  readonly #hear = (signal: NodeJS.Signals): void => {
    if (this.#child === undefined) {
      this.#status ??= statusOf(signal)
      this.#stop.abort()
    } else if (signal !== 'SIGINT') this.#child.kill(signal)
  }
}

/** whoAmI is for the log: who asked, also behind sudo. */
function whoAmI(environment: Environment): string {
  return `${environment.SUDO_USER ?? userName()}@${hostname()}`
}

/** Not every user of a container has a name. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.()}`
  }
}

async function findProgram(name: string, { PATH = '' }: Environment): Promise<string | undefined> {
  for (const folder of PATH.split(delimiter)) {
    if (folder === '') continue
    const path = join(folder, name)
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      // The next folder may have it.
    }
  }
  return undefined
}
