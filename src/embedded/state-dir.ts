import { randomBytes } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Secret } from '../secret.ts'
import { isRoot } from './account.ts'
import { EmbeddedError, hasCode } from './errors.ts'

/** StoredSecret is a secret and whether this very call made it. */
export interface StoredSecret {
  readonly secret: Secret
  readonly created: boolean
}

/** StateDir is the folder in which the service keeps what it made for itself: keys, embedded data. */
export class StateDir {
  /** Absolute. */
  readonly path: string
  readonly #warn: (message: string) => void

  private constructor(path: string, warn: (message: string) => void) {
    this.path = path
    this.#warn = warn
  }

  /**
   * open makes the folder when it is missing and closes it to other users. Under root they may
   * pass through, but not look: PostgreSQL has its data in there and runs as another user.
   */
  static async open(path: string, warn: (message: string) => void): Promise<StateDir> {
    const absolute = resolve(path)
    await mkdir(absolute, { recursive: true })
    // Not left to mkdir, whose mode the umask can narrow, and which leaves an existing folder as it is.
    await chmod(absolute, isRoot() ? 0o711 : 0o700)
    return new StateDir(absolute, warn)
  }

  /** existing is a folder as it is; what is not there is not made. */
  static existing(path: string, warn: (message: string) => void = () => {}): StateDir {
    return new StateDir(resolve(path), warn)
  }

  /**
   * readOrCreateSecret resolves with the secret in the file `name`, made by `make` on first use
   * with mode 0600. Of several processes at once one makes it and all read the same. A file that
   * other users can read is closed to them, with a warning.
   * @throws EmbeddedError when the file is empty
   */
  async readOrCreateSecret(name: string, make: () => string): Promise<StoredSecret> {
    const existing = await this.readSecret(name)
    if (existing !== undefined) return { secret: existing, created: false }
    const file = join(this.path, name)
    const draft = `${file}.${randomBytes(6).toString('hex')}`
    let created = true
    try {
      await writeDurably(draft, `${make()}\n`)
      // A link to a complete file appears whole or not at all, and never over one that is there.
      await link(draft, file)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      created = false
    } finally {
      await rm(draft, { force: true })
    }
    const secret = await this.readSecret(name)
    if (secret === undefined) throw new EmbeddedError(`${file} was made, but is gone.`)
    return { secret, created }
  }

  /** readSecret resolves with the secret in the file `name`, or undefined when there is none. */
  async readSecret(name: string): Promise<Secret | undefined> {
    const file = join(this.path, name)
    let text: string
    try {
      text = (await readFile(file, 'utf8')).trim()
      const mode = (await stat(file)).mode & 0o777
      if ((mode & 0o077) !== 0) {
        await chmod(file, 0o600)
        this.#warn(`${file} was open to other users (mode ${mode.toString(8)}) and is closed to them now`)
      }
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
    if (text === '')
      throw new EmbeddedError(`${file} is empty. Restore it, or remove it to have a new one made.`)
    return new Secret(text)
  }
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
