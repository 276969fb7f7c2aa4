import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { EmbeddedError } from './errors.ts'

const run = promisify(execFile)

const NAME = 'postgres'
const SYSTEM_PATH = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }

/** Account is the system user that PostgreSQL runs as. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/**
 * isRoot says whether this process is root. PostgreSQL refuses to run as root, so that it then
 * needs an account of its own.
 */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/**
 * postgresAccount resolves with the system user `postgres`, and makes it when it is missing. For
 * root only.
 * @throws EmbeddedError when it cannot be made
 */
export async function postgresAccount(log: (message: string) => void): Promise<Account> {
  const existing = await lookUp()
  if (existing !== undefined) return existing
  try {
    await run('groupadd', ['--system', '--force', NAME], { env: SYSTEM_PATH })
    const home = ['--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin']
    await run('useradd', ['--system', '--gid', NAME, ...home, NAME], { env: SYSTEM_PATH })
  } catch (cause) {
    // Another process may have made it in the meantime.
    const made = await lookUp()
    if (made !== undefined) return made
    throw new EmbeddedError(
      `PostgreSQL does not run as root, and the system user ${NAME} that it would run as could not be made. Start as another user, or make that one.`,
      { cause },
    )
  }
  const made = await lookUp()
  if (made === undefined) throw new EmbeddedError(`The system user ${NAME} was made, but is not found.`)
  log(`Made the system user ${NAME}, because PostgreSQL does not run as root`)
  return made
}

async function lookUp(): Promise<Account | undefined> {
  try {
    const [uid, gid] = await Promise.all([
      run('id', ['-u', NAME], { env: SYSTEM_PATH }),
      run('id', ['-g', NAME], { env: SYSTEM_PATH }),
    ])
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  } catch {
    // `id` fails when there is no such user.
    return undefined
  }
}

/** reaches says whether the account can enter this folder, or execute this file, through all its parents. */
export async function reaches(account: Account, path: string): Promise<boolean> {
  try {
    await run('test', ['-x', path], { ...account, cwd: '/', env: SYSTEM_PATH })
    return true
  } catch {
    // `test` fails when it cannot.
    return false
  }
}
