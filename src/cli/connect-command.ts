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
  // Ctrl-C is for psql, and must not keep the login from being dropped.
  ownsSignals: true,
  async run(args, io) {
    const options = parseConnectArgs(args)
    const psql = options.prints ? undefined : await findProgram('psql', io.environment)
    return withLessor(io, ({ tenants }) => connect(tenants, options, psql, io), 'control')
  },
}

async function connect(
  tenants: TenantService,
  options: ConnectOptions,
  psql: string | undefined,
  io: CliIo,
): Promise<number> {
  const { visits } = tenants
  await visits.sweep()
  const { minutes, writes } = options
  const tenantId = await findTenant(tenants, options)
  const visit = await visits.open({ tenantId, visitor: whoAmI(io.environment), minutes, writes })
  io.stderr.write(`${describe(visit, writes)}\n`)
  if (psql === undefined) {
    if (!options.prints) io.stderr.write('psql is not installed here; this is the login:\n')
    const pem = certificatesOf(visit)
    io.stdout.write(shellLines(visitEnvironment(visit)) + (pem === undefined ? '' : certificateLines(pem)))
    return 0
  }
  try {
    return await withCertificates(visit, (variables) =>
      runPsql(psql, options.psqlArgs, { ...psqlEnvironment(visit, io.environment), ...variables }),
    )
  } finally {
    await visits.close(visit)
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
  psql: string,
  args: readonly string[],
  env: Record<string, string | undefined>,
): Promise<number> {
  const child = spawn(psql, args, { env, stdio: 'inherit' })
  const stop = passSignals(child)
  try {
    const [status, signal]: [number | null, NodeJS.Signals | null] = (await once(child, 'exit')) as never
    return status ?? 128 + (signal === null ? 0 : osConstants.signals[signal])
  } finally {
    stop()
  }
}

/** A terminal sends SIGINT to psql as well, which cancels its statement; the others only we get. */
function passSignals(child: ChildProcess): () => void {
  const ignore = () => {}
  const pass = (signal: NodeJS.Signals) => child.kill(signal)
  process.on('SIGINT', ignore).on('SIGTERM', pass).on('SIGHUP', pass)
  return () => process.off('SIGINT', ignore).off('SIGTERM', pass).off('SIGHUP', pass)
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
