import { execFile } from 'node:child_process'
import { chown, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Secret } from '../secret.ts'
import type { Binaries } from './binaries.ts'
import { EmbeddedError, hasCode } from './errors.ts'
import type { Home } from './home.ts'

const run = promisify(execFile)

export const SUPERUSER = 'postgres'

const DRAFT = 'draft-data-'

/** https://www.postgresql.org/docs/17/release-17.html, "builtin" platform-independent collation provider. */
const FIRST_WITH_BUILTIN_LOCALE = 17

/** CHILD_ENV is all the environment that PostgreSQL's programs get: they depend on nothing of the caller's. */
export const CHILD_ENV = { LC_ALL: 'C', TZ: 'UTC' }

/**
 * clusterVersion resolves with the major version that made the data (PG_VERSION), or undefined
 * when there is none yet.
 */
export async function clusterVersion(home: Home): Promise<number | undefined> {
  try {
    return Number(await readFile(join(home.data, 'PG_VERSION'), 'utf8'))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** binariesVersion resolves with the major version of the programs. */
export async function binariesVersion(binaries: Binaries): Promise<number> {
  const { stdout } = await run(binaries.postgres, ['--version'], { env: CHILD_ENV })
  return Number(/(\d+)(\.\d+)?\s*$/.exec(stdout)?.[1])
}

/**
 * createCluster makes the data folder with initdb: UTF-8 that sorts alike on every machine and knows the case of
 * all letters, and passwords for every connection. A draft is renamed when it is
 * complete, so that a start that was cut leaves no half of it. Drafts have names of their own,
 * since the initdb of a killed service may still be writing to an older one.
 * @throws EmbeddedError with what initdb said
 */
export async function createCluster(
  home: Home,
  binaries: Binaries,
  password: Secret,
  durable: boolean,
): Promise<void> {
  await removeDrafts(home)
  const draft = await mkdtemp(join(home.path, DRAFT))
  const passwordFile = join(draft, 'password')
  const data = join(draft, 'data')
  try {
    await mkdir(data, { mode: 0o700 })
    await writeFile(passwordFile, password.reveal(), { mode: 0o600 })
    if (home.account !== undefined) {
      for (const path of [draft, data, passwordFile]) await chown(path, home.account.uid, home.account.gid)
    }
    const locale = localeOptions(await binariesVersion(binaries))
    const login = [`--username=${SUPERUSER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256']
    const haste = durable ? [] : ['--no-sync']
    await run(binaries.initdb, ['--pgdata', data, ...login, ...locale, ...haste, '--no-instructions'], {
      ...home.account,
      cwd: home.path,
      env: CHILD_ENV,
    })
    await rename(data, home.data)
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? `: ${String(cause.stderr).trim()}` : ''
    throw new EmbeddedError(`The embedded PostgreSQL could not make its data in ${home.data}${said}`, {
      cause,
    })
  } finally {
    await removeDrafts(home)
  }
}

/** localeOptions are the options of initdb for a locale that sorts by code points: the built-in one where there is one. */
function localeOptions(version: number): readonly string[] {
  const common = ['--encoding=UTF8', '--locale=C']
  if (version >= FIRST_WITH_BUILTIN_LOCALE) {
    return [...common, '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  }
  // C knows the case of ASCII alone; macOS has this locale under another name.
  return [...common, `--lc-ctype=${process.platform === 'darwin' ? 'UTF-8' : 'C.UTF-8'}`]
}

async function removeDrafts(home: Home): Promise<void> {
  const drafts = (await readdir(home.path)).filter((name) => name.startsWith(DRAFT))
  for (const name of drafts) await rm(join(home.path, name), { recursive: true, force: true, maxRetries: 20 })
}
