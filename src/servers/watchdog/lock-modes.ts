/** LOCK_MODES are the modes of a lock on a table, weakest first, as `pg_locks` writes them. */
const LOCK_MODES: readonly string[] = [
  'AccessShareLock',
  'RowShareLock',
  'RowExclusiveLock',
  'ShareUpdateExclusiveLock',
  'ShareLock',
  'ShareRowExclusiveLock',
  'ExclusiveLock',
  'AccessExclusiveLock',
]

/** Which modes each conflicts with, by their places above (manual, "Explicit Locking", table 13.2). */
const CONFLICTS: readonly (readonly number[])[] = [
  [7],
  [6, 7],
  [4, 5, 6, 7],
  [3, 4, 5, 6, 7],
  [2, 3, 5, 6, 7],
  [2, 3, 4, 5, 6, 7],
  [1, 2, 3, 4, 5, 6, 7],
  [0, 1, 2, 3, 4, 5, 6, 7],
]

/** The strongest that SELECT, SELECT FOR UPDATE, INSERT, UPDATE, DELETE and MERGE take on a table. */
const STRONGEST_OF_ROWS = 2

/** conflict says whether two modes of a lock exclude each other. A mode that is not known conflicts with all. */
export function conflict(one: string, other: string): boolean {
  const [a, b] = [placeOf(one), placeOf(other)]
  return a < 0 || b < 0 || CONFLICTS[a]?.includes(b) === true
}

/** isOfRows says whether statements that read and write rows take this mode on a table. */
export function isOfRows(mode: string): boolean {
  const place = placeOf(mode)
  return place >= 0 && place <= STRONGEST_OF_ROWS
}

function placeOf(mode: string): number {
  return LOCK_MODES.indexOf(mode)
}
