import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { afterClashes } from '../placement/after-clashes.ts'
import { type Db, ident, type ScriptDb, sql } from '../pool/statement.ts'

/** Migration is one numbered SQL file. Files only go forward and never change once they are released. */
export interface Migration {
  readonly version: number
  readonly name: string
  readonly text: string
  /** SHA-256 of the text in hexadecimal; line ends do not count. */
  readonly checksum: string
}

/** MigrationError says that the database and the code's migrations do not belong together. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError'
}

interface AppliedRow {
  readonly version: number
  readonly name: string
  readonly checksum: string
}

const CONTROL_DIRECTORY = new URL('../../sql/control/', import.meta.url)
const CONTROL_LEDGER = 'lessor.migrations'
const FILE_NAME = /^(\d{6})-([a-z0-9-]+)\.sql$/

/**
 * readMigrations reads the numbered files of a directory in order, by default the control database's.
 * @throws MigrationError when the numbers are not 1, 2, 3, ...
 */
export async function readMigrations(directory: URL = CONTROL_DIRECTORY): Promise<readonly Migration[]> {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.sql')).sort()
  return Promise.all(
    files.map(async (file, index) => {
      const match = FILE_NAME.exec(file)
      if (match === null || Number(match[1]) !== index + 1) {
        throw new MigrationError(`The migration ${file} should be number ${index + 1}, as in 000001-name.sql`)
      }
      const text = (await readFile(new URL(file, directory), 'utf8')).replaceAll('\r\n', '\n')
      const checksum = createHash('sha256').update(text).digest('hex')
      return { version: index + 1, name: file.slice(0, -'.sql'.length), text, checksum }
    }),
  )
}

/**
 * migrate brings the database to the state of the code and resolves with the migrations that this
 * call ran. Several starters may call it at once: each migration claims its row first, so that the
 * others wait on the unique key and find it done, or run it when the first one failed. `ledger` is
 * the table of schema lessor that holds the rows, one for each directory of migrations.
 * @throws MigrationError when an applied file was changed, or the database is newer than the code
 */
export async function migrate(
  db: ScriptDb,
  migrations: readonly Migration[],
  ledger: string = CONTROL_LEDGER,
): Promise<readonly Migration[]> {
  await ensureTable(db, ledger)
  assertNotNewer(await applied(db, ledger), migrations)
  const ran: Migration[] = []
  for (const migration of migrations) {
    if (await runOnce(db, migration, ledger)) ran.push(migration)
  }
  return ran
}

/** isMigrated says whether the database has every one of these migrations. */
export async function isMigrated(
  db: Db,
  migrations: readonly Migration[],
  ledger: string = CONTROL_LEDGER,
): Promise<boolean> {
  if (!(await hasTable(db, ledger))) return false
  const versions = new Set((await applied(db, ledger)).map((row) => row.version))
  return migrations.every((migration) => versions.has(migration.version))
}

async function runOnce(db: ScriptDb, migration: Migration, ledger: string): Promise<boolean> {
  return db.transaction(async (tx) => {
    // The wait for another starter and a long migration are not cut by the pool's own limit.
    await tx.query(sql`set local statement_timeout = 0`)
    const claimed = await tx.query(sql`
      insert into ${ident(ledger)} (version, name, checksum)
      values (${migration.version}, ${migration.name}, ${migration.checksum})
      on conflict (version) do nothing
      returning version`)
    if (claimed.length === 0) {
      assertSame(await applied(tx, ledger), migration)
      return false
    }
    await tx.script(migration.text)
    return true
  })
}

function assertSame(rows: readonly AppliedRow[], migration: Migration): void {
  const row = rows.find((each) => each.version === migration.version)
  if (row?.checksum === migration.checksum) return
  throw new MigrationError(
    `Migration ${migration.name} was changed after it ran (as ${row?.name}); put the file back and write a new one`,
  )
}

function assertNotNewer(rows: readonly AppliedRow[], migrations: readonly Migration[]): void {
  const newest = rows.at(-1)
  if (newest === undefined || newest.version <= migrations.length) return
  throw new MigrationError(
    `The database has migration ${newest.name}, which this version of Lessor does not know; run a newer version`,
  )
}

async function applied(db: Db, ledger: string): Promise<readonly AppliedRow[]> {
  return db.query<AppliedRow>(sql`select version, name, checksum from ${ident(ledger)} order by version`)
}

async function hasTable(db: Db, ledger: string): Promise<boolean> {
  const [row] = await db.query<{ present: boolean }>(
    sql`select to_regclass(${ledger}) is not null as present`,
  )
  return row?.present === true
}

async function ensureTable(db: ScriptDb, ledger: string): Promise<void> {
  // IF NOT EXISTS does not save two sessions from each other.
  await afterClashes(async () => {
    if (await hasTable(db, ledger)) return
    await db.script(`
      create schema if not exists lessor;
      create table if not exists ${ledger} (
        version integer primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default now()
      );
      revoke all on schema lessor from public;
      revoke all on ${ledger} from public;
    `)
  })
}
