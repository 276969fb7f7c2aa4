import { LessorError } from '../errors.ts'
import { afterClashes } from '../placement/after-clashes.ts'
import { errorCode } from '../pool/driver-errors.ts'
import { type Db, sql } from '../pool/statement.ts'

/** DatabaseMark is by what a data server's database is known again (sql/walls/000006-mark.sql). */
export interface DatabaseMark {
  readonly id: string
  /** The control database that knows it, by its own id. */
  readonly installation: string
}

/** MarkedDatabase is what a database says of itself, read without a change to it. */
export interface MarkedDatabase {
  readonly mark: DatabaseMark | undefined
  /** Whether it has the place for one. */
  readonly isMarkable: boolean
  /** Whether a Lessor has made it ready, of this version or an older one. */
  readonly isPrepared: boolean
  /** Whether it has a control plane of its own. */
  readonly isControl: boolean
  /** Whether its ledger tells of shared tables, and there is no schema that could hold them. */
  readonly isHollow: boolean
}

const INSUFFICIENT_PRIVILEGE = '42501'

/**
 * readMark reads what a database says of itself.
 * @throws LessorError SERVER_UNSUITABLE when this login may not read it; what `db.query` throws
 */
export async function readMark(db: Db): Promise<MarkedDatabase> {
  const [found] = await db.query<{ mark: boolean; walls: boolean; control: boolean; hollow: boolean }>(sql`
    select
      coalesce(bool_or(relname = 'database_mark'), false) as mark,
      coalesce(bool_or(relname in ('wall_migrations', 'app_migrations')), false) as walls,
      coalesce(bool_or(relname = 'servers'), false) as control,
      coalesce(bool_or(relname = 'app_migrations'), false)
        and not exists (select from pg_namespace where nspname = 'app') as hollow
    from pg_class
    where relnamespace = (select oid from pg_namespace where nspname = 'lessor')`)
  if (found === undefined) throw new Error('bug: an aggregate without a group has one row')
  try {
    const [mark] = found.mark
      ? await db.query<DatabaseMark>(sql`select id, installation from lessor.database_mark`)
      : []
    const [ledger] = found.hollow
      ? await db.query<{ filled: boolean }>(sql`select exists (select from lessor.app_migrations) as filled`)
      : []
    return {
      mark,
      isMarkable: found.mark,
      isPrepared: found.walls,
      isControl: found.control,
      isHollow: ledger?.filled === true,
    }
  } catch (error) {
    if (errorCode(error) !== INSUFFICIENT_PRIVILEGE) throw error
    throw new LessorError(
      'SERVER_UNSUITABLE',
      'The login may not read the mark of the database (lessor.database_mark): it is not the administrator who made it. ' +
        'Log in as that role, or as a member of it.',
    )
  }
}

/**
 * writeMark marks a database unless it is marked, and resolves with the mark that it has. Of several starters the
 * first one's counts.
 */
export async function writeMark(admin: Db, mark: DatabaseMark): Promise<DatabaseMark> {
  return afterClashes(async () => {
    await admin.query(sql`
      insert into lessor.database_mark (id, installation) values (${mark.id}, ${mark.installation})
      on conflict do nothing`)
    const [row] = await admin.query<DatabaseMark>(sql`select id, installation from lessor.database_mark`)
    if (row === undefined) throw new Error('bug: a mark that was written is not there')
    return row
  })
}
