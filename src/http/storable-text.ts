import { LessorError } from '../errors.ts'

/** Half of a surrogate pair, or U+0000, as JSON escapes them; a backslash before it may escape the backslash. */
const SUSPECT = /\\u(?:0000|[dD][89a-fA-F])/

const IN_TEXT = 'must be text without U+0000 and without half of a surrogate pair'
const IN_NAME = 'has a field whose name holds U+0000 or half of a surrogate pair'

/** Ten times the depth of the bodies of the API, so that a deeper one is not walked to its end. */
const MAX_DEPTH = 64
const TOO_DEEP = `must not be nested deeper than ${MAX_DEPTH} levels`

/** Paths hold names that the caller chose. They are cut where they are longer than anyone reads. */
const MAX_PATH_LENGTH = 200

/** isStorable says whether PostgreSQL can hold a text as it is: no U+0000, no half of a surrogate pair. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

/** maySmuggle says whether JSON text can hold text that is not storable; cheap, and sure when it says no. */
export function maySmuggle(json: string): boolean {
  return json.includes('\\u') && SUSPECT.test(json)
}

/**
 * findUnstorable looks at every text in what JSON was parsed to, names of fields as well, and returns an
 * error INVALID_REQUEST that names one that is not storable. It needs no stack, however deep the value is.
 */
export function findUnstorable(body: unknown): LessorError | undefined {
  const open: (readonly [path: string, value: unknown, depth: number])[] = [['', body, 0]]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [path, value, depth] = next
    if (typeof value === 'string' && !isStorable(value)) return unstorable(path, IN_TEXT)
    if (typeof value !== 'object' || value === null) continue
    if (depth >= MAX_DEPTH) return unstorable(path, TOO_DEEP)
    for (const [name, field] of Object.entries(value)) {
      if (!isStorable(name)) return unstorable(path, IN_NAME)
      open.push([`${path}/${pointerPart(name)}`, field, depth + 1])
    }
  }
  return undefined
}

/** pointerPart is a name in a JSON pointer (RFC 6901, section 3). */
export function pointerPart(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

/** shortPath is a path as an error shows it. */
export function shortPath(path: string): string {
  return path.length > MAX_PATH_LENGTH ? `${path.slice(0, MAX_PATH_LENGTH).toWellFormed()}…` : path
}

function unstorable(pointer: string, message: string): LessorError {
  const path = shortPath(pointer)
  const what = path === '' ? 'body' : `body field ${path}`
  return new LessorError('INVALID_REQUEST', `The ${what} ${message}.`, {
    errors: [{ in: 'body', path, message }],
  })
}
