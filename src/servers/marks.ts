import { randomUUID } from 'node:crypto'
import { isLessorError, LessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { Db } from '../pool/statement.ts'
import { DEFAULT_SERVER } from './data-server.ts'
import { type MarkedDatabase, readMark, writeMark } from './database-mark.ts'
import { findMarked, readOwnMarks, saveMark } from './server-store.ts'

const UNIQUE_VIOLATION = '23505'

/**
 * Marks knows the databases of the data servers by the mark that lies in each, so that an address that leads to
 * another database is refused before a tenant reads nothing there, or writes what is never found again.
 */
export class Marks {
  /** The control database. */
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  /**
   * assertControl refuses a control database that cannot be this one: one that another installation has entered as
   * a data server, or the control plane without the data of its server `default`. Changes nothing, and works before
   * the migrations.
   * @throws LessorError SERVER_UNSUITABLE that says what was found and what would be right; CONTROL_UNAVAILABLE
   */
  async assertControl(): Promise<void> {
    const own = await readOwnMarks(this.#db, DEFAULT_SERVER)
    const found = await readMark(this.#db)
    if (found.mark !== undefined && found.mark.installation !== own?.installation) {
      throw unsuitable(
        'DATABASE_URL leads to a database that another installation of Lessor has entered as a data server ' +
          `(its mark is ${found.mark.id}). Set it to the control database, or to an empty one. ${FREE}`,
      )
    }
    if (typeof own?.mark === 'string' && found.mark?.id !== own.mark) {
      throw unsuitable(
        'DATABASE_URL leads to a control database without the data of its data server "default": its mark should ' +
          `be ${own.mark}, and is ${found.mark?.id ?? 'missing'}. Restore the database as a whole.`,
      )
    }
    if (found.isHollow) throw hollow('DATABASE_URL', DEFAULT_SERVER)
  }

  /**
   * assertSame refuses a database that is not the one that a data server was entered with. A server whose mark is not
   * known yet may be any database that is no other server's.
   * @throws LessorError SERVER_UNSUITABLE that says what was found and what would be right; CONTROL_UNAVAILABLE, and
   *   what `admin.query` throws
   */
  async assertSame(admin: Db, { name, mark }: { readonly name: string; readonly mark: string | null }) {
    const found = await readMark(admin)
    if (mark !== null && found.mark?.id === mark) {
      if (found.isHollow) throw hollow('The URL', name)
      return
    }
    const owner = found.mark && (await findMarked(this.#db, found.mark.id))
    if (mark === null && owner === undefined) return
    throw another(name, found, { owner, mark })
  }

  /** assertPrepared refuses a database in which Lessor has never been. @throws as {@link assertSame} */
  async assertPrepared(admin: Db, name: string): Promise<void> {
    const found = await readMark(admin)
    if (!found.isPrepared) throw another(name, found)
  }

  /**
   * assertFree refuses a database that cannot be a new data server: that of another one, or of another installation.
   * @throws as {@link assertSame}
   */
  async assertFree(admin: Db): Promise<void> {
    const found = await readMark(admin)
    const owner = found.mark && (await findMarked(this.#db, found.mark.id))
    if (owner !== undefined) throw registeredAs(owner)
    if (found.mark !== undefined && found.mark.installation !== (await this.#installation())) {
      throw unsuitable(
        `The database belongs to another installation of Lessor (its mark is ${found.mark.id}). ` +
          `Name an empty database. ${FREE}`,
      )
    }
    if (found.isControl) {
      throw unsuitable('The database is the control database of another Lessor. Name an empty database.')
    }
  }

  /** enter marks a database that was made ready, and resolves with its mark. @throws as {@link assertSame} */
  async enter(admin: Db): Promise<string> {
    const mark = { id: randomUUID(), installation: await this.#installation() }
    return (await writeMark(admin, mark)).id
  }

  /**
   * learn enters the mark of a data server that has none so far, and resolves with it; null where the database was not
   * made ready.
   * @throws LessorError SERVER_UNSUITABLE when it is the database of another data server as well; as {@link assertSame}
   */
  async learn(admin: Db, name: string): Promise<string | null> {
    if (!(await readMark(admin)).isMarkable) return null
    const id = await this.enter(admin)
    try {
      return (await saveMark(this.#db, name, id)) ?? null
    } catch (error) {
      const owner = errorCode(error) === UNIQUE_VIOLATION ? await findMarked(this.#db, id) : undefined
      throw owner === undefined ? error : registeredAs(owner)
    }
  }

  async #installation(): Promise<string> {
    const own = await readOwnMarks(this.#db, DEFAULT_SERVER)
    if (own === undefined) throw new Error('bug: the control database was not migrated')
    return own.installation
  }
}

/** registeredAs says that a database is a data server already, or that it was copied from one with all that is in it. */
export function registeredAs(name: string): LessorError {
  return unsuitable(
    `This database is registered as the data server "${name}", or is a copy of that. Name an empty database, or use ` +
      'that server.',
  )
}

/** isUnsuitable says whether an error is a refusal of what stands at an address, and not a failure to reach it. */
export function isUnsuitable(error: unknown): error is LessorError {
  return isLessorError(error, 'SERVER_UNSUITABLE')
}

const FREE =
  'If that installation is gone for good, "delete from lessor.database_mark" in that database frees it.'

function describe({ mark, isPrepared }: MarkedDatabase, owner: string | undefined): string {
  if (owner !== undefined) return `the database of the data server "${owner}"`
  if (mark !== undefined) return `a database with the mark ${mark.id}`
  return isPrepared ? 'a database of Lessor without a mark' : 'a database in which Lessor has never been'
}

function another(
  name: string,
  found: MarkedDatabase,
  { owner, mark = null }: { readonly owner?: string | undefined; readonly mark?: string | null } = {},
): LessorError {
  return unsuitable(
    `The URL leads to ${describe(found, owner)}, and not to the database of the data server "${name}"` +
      `${mark === null ? '' : `, whose mark is ${mark}`}. Only that database can take its place, moved, restored or ` +
      'replicated as a whole. Register another one under a name of its own.',
  )
}

function hollow(what: string, name: string): LessorError {
  return unsuitable(
    `${what} leads to a database that has the mark of the data server "${name}" and not its tables: there is no schema ` +
      'app. Restore the database as a whole.',
  )
}

function unsuitable(message: string): LessorError {
  return new LessorError('SERVER_UNSUITABLE', message)
}
