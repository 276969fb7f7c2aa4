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

export interface AppliedRow {
  readonly version: number
  readonly name: string
  readonly checksum: string
}

/** Ledger remembers what a database, or a part of one, has been brought to. */
export interface Ledger {
  /** ensure makes the ledger where it is missing. */
  ensure(db: ScriptDb): Promise<void>
  /** applied lists what has run, by version. */
  applied(db: Db): Promise<readonly AppliedRow[]>
  /** claim enters a migration; false when it is there. Whoever claims the same waits for the first one's transaction. */
  claim(tx: Db, migration: Migration): Promise<boolean>
}

export interface MigrateOptions {
  /** Where a string, the table of schema lessor that holds the rows, one for each directory of migrations. */
  readonly ledger?: string | Ledger
  /** Runs in each transaction before the ledger is read or a file is run: who does it, and where. */
  readonly before?: (tx: ScriptDb) => Promise<void>
  /** Lets code that is older than the database be: its files are written so that it can live with the newer ones. */
  readonly acceptsNewer?: boolean
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
 * others wait on the unique key and find it done, or run it when the first one failed.
 * @throws MigrationError when an applied file was changed, or the database is newer than the code and
 *   `acceptsNewer` does not say otherwise
 */
export async function migrate(
  db: ScriptDb,
  migrations: readonly Migration[],
  { ledger = CONTROL_LEDGER, before = async () => {}, acceptsNewer = false }: MigrateOptions = {},
): Promise<readonly Migration[]> {
  const book = typeof ledger === 'string' ? tableLedger(ledger) : ledger
  await book.ensure(db)
  const rows = await db.transaction(async (tx) => {
    await before(tx)
    return book.applied(tx)
  })
  if (!acceptsNewer) assertNotNewer(rows, migrations)
  const ran: Migration[] = []
  for (const migration of migrations) {
    if (rows.some((row) => row.version === migration.version)) assertSame(rows, migration)
    else if (await runOnce(db, migration, book, before)) ran.push(migration)
  }
  return ran
}

/**
 * missingMigrations tells which of the migrations a ledger's rows lack.
 * @throws MigrationError as {@link migrate} does
 */
export function missingMigrations(
  rows: readonly AppliedRow[],
  migrations: readonly Migration[],
): readonly Migration[] {
  assertNotNewer(rows, migrations)
  const missing = migrations.filter(({ version }) => !rows.some((row) => row.version === version))
  for (const migration of migrations) if (!missing.includes(migration)) assertSame(rows, migration)
  return missing
}

/** isMigrated says whether the database has every one of these migrations. */
export async function isMigrated(
  db: Db,
  migrations: readonly Migration[],
  ledger: string = CONTROL_LEDGER,
): Promise<boolean> {
  if (!(await hasTable(db, ledger))) return false
  const versions = new Set((await tableLedger(ledger).applied(db)).map((row) => row.version))
  return migrations.every((migration) => versions.has(migration.version))
}

/** tableLedger is a ledger in a table of its own. */
function tableLedger(table: string): Ledger {
  return {
    ensure: (db) => ensureTable(db, table),
    applied: (db) => db.query(sql`select version, name, checksum from ${ident(table)} order by version`),
    async claim(tx, { version, name, checksum }) {
      const claimed = await tx.query(sql`
        insert into ${ident(table)} (version, name, checksum) values (${version}, ${name}, ${checksum})
        on conflict (version) do nothing
        returning version`)
      return claimed.length > 0
    },
  }
}

async function runOnce(
  db: ScriptDb,
  migration: Migration,
  ledger: Ledger,
  before: (tx: ScriptDb) => Promise<void>,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    // The wait for another starter and a long migration are not cut by the pool's own limit.
    await tx.query(sql`set local statement_timeout = 0`)
    await before(tx)
    if (!(await ledger.claim(tx, migration))) {
      assertSame(await ledger.applied(tx), migration)
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
