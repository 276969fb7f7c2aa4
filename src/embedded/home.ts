import { chmod, lstat, mkdir, mkdtemp, realpath, rmdir, stat, symlink, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Account, isRoot, postgresAccount, reaches } from './account.ts'
import { EmbeddedError, hasCode } from './errors.ts'
import { makeSystemHome, SYSTEM_HOME } from './system-home.ts'

/** Home is the folder in which the embedded PostgreSQL lives, and as whom it runs. */
export interface Home {
  /** Real path; holds the data, the password, the port, the log and the lock. */
  readonly path: string
  readonly data: string
  /** Undefined: as the user of this process. */
  readonly account: Account | undefined
}

/**
 * prepareHome makes the folder. Under root PostgreSQL runs as another user, who must be able to
 * enter it: where `directory` lies in a folder closed to that user (a clone in /root, a folder of
 * mktemp), it becomes a symbolic link to a new folder in {@link SYSTEM_HOME}.
 * @throws EmbeddedError when that user cannot enter it
 */
export async function prepareHome(directory: string, log: (message: string) => void): Promise<Home> {
  await mkdir(dirname(directory), { recursive: true })
  await removeDanglingLink(directory)
  if (!isRoot()) {
    const path = await makeFolder(directory, 0o700)
    return { path, data: join(path, 'data'), account: undefined }
  }
  // Data that a normal user made before stays that user's: PostgreSQL refuses any other owner.
  const account = (await ownerOf(join(directory, 'data'))) ?? (await postgresAccount(log))
  if (!(await exists(directory)) && !(await reaches(account, dirname(directory)))) {
    await linkElsewhere(directory)
    log(
      `${dirname(directory)} is closed to the user that PostgreSQL runs as: its data lies in ${await realpath(directory)}`,
    )
  }
  const path = await makeFolder(directory, 0o711)
  if (!(await reaches(account, path))) {
    throw new EmbeddedError(
      `PostgreSQL does not run as root, and the user that it runs as (uid ${account.uid}) cannot enter ${path}. Set STATE_DIR to a folder that other users can pass through.`,
    )
  }
  return { path, data: join(path, 'data'), account }
}

async function makeFolder(directory: string, mode: number): Promise<string> {
  await mkdir(directory, { recursive: true })
  const path = await realpath(directory)
  await chmod(path, mode)
  return path
}

/** removeDanglingLink makes room where the folder in {@link SYSTEM_HOME} is gone, e.g. with its container. */
async function removeDanglingLink(path: string): Promise<void> {
  if (!(await exists(path)) || (await exists(path, stat))) return
  try {
    await unlink(path)
  } catch (error) {
    // Another process did it.
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

async function linkElsewhere(directory: string): Promise<void> {
  await makeSystemHome()
  const elsewhere = await mkdtemp(join(SYSTEM_HOME, 'data-'))
  try {
    await symlink(elsewhere, directory)
  } catch (error) {
    await rmdir(elsewhere)
    // Another process did it.
    if (!hasCode(error, 'EEXIST')) throw error
  }
}

async function ownerOf(path: string): Promise<Account | undefined> {
  if (!(await exists(path, stat))) return undefined
  const { uid, gid } = await stat(path)
  return uid === 0 ? undefined : { uid, gid }
}

async function exists(path: string, look: (path: string) => Promise<unknown> = lstat): Promise<boolean> {
  try {
    await look(path)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}
