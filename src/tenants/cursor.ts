import { LessorError } from '../errors.ts'

/** Page is one page of a list. */
export interface Page<T> {
  readonly records: readonly T[]
  /** Where the next page starts; null on the last one. */
  readonly nextCursor: string | null
}

/** encodeCursor packs a list's position into opaque text. */
export function encodeCursor(position: readonly string[]): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url')
}

/**
 * decodeCursor unpacks what encodeCursor made; each part must match its pattern.
 * @throws LessorError INVALID_REQUEST
 */
export function decodeCursor(cursor: string, patterns: readonly RegExp[]): readonly string[] {
  const position = parse(cursor)
  if (
    Array.isArray(position) &&
    position.length === patterns.length &&
    patterns.every((pattern, index) => typeof position[index] === 'string' && pattern.test(position[index]))
  ) {
    return position
  }
  const message = 'must be a cursor that this list returned'
  throw new LessorError('INVALID_REQUEST', `The cursor ${message}.`, {
    errors: [{ in: 'query', path: 'cursor', message }],
  })
}

/** toPage cuts a list that was read with one record more than the page holds. */
export function toPage<T>(
  rows: readonly T[],
  limit: number,
  position: (last: T) => readonly string[],
): Page<T> {
  const records = rows.slice(0, limit)
  const last = records.at(-1)
  const more = rows.length > limit && last !== undefined
  return { records, nextCursor: more ? encodeCursor(position(last)) : null }
}

function parse(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    return undefined
  }
}
