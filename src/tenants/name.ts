import { LessorError } from '../errors.ts'

/** Name is a name as people wrote it, and the key by which it is unique. */
export interface Name {
  readonly text: string
  readonly key: string
}

/** NAME_MAX_LENGTH is the most characters (code points) that a tenant's name may have. */
export const NAME_MAX_LENGTH = 200

/** NAME_PATTERN allows no control characters and no line or paragraph separators. */
export const NAME_PATTERN = '^[^\\p{Cc}\\p{Zl}\\p{Zp}\\p{Cs}]*$'

/** NAMESPACE_PATTERN is what a namespace may be called. */
export const NAMESPACE_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'

const NAME = new RegExp(NAME_PATTERN, 'u')
const NAMESPACE = new RegExp(NAMESPACE_PATTERN)

/**
 * parseTenantName trims a tenant's name and brings it to NFC. `path` is where in the body it stands.
 * @throws LessorError INVALID_REQUEST
 */
export function parseTenantName(text: string, path = '/name'): Name {
  const name = text.normalize('NFC').trim()
  const length = [...name].length
  if (length < 1 || length > NAME_MAX_LENGTH) {
    const message = `must have 1 to ${NAME_MAX_LENGTH} characters, not counting white space around it`
    throw invalidName(message, path)
  }
  if (!NAME.test(name)) throw invalidName('must have no control characters', path)
  return { text: name, key: nameKey(name) }
}

/** parseNamespaceName checks a namespace's name. @throws LessorError INVALID_REQUEST */
export function parseNamespaceName(text: string): Name {
  if (!NAMESPACE.test(text)) {
    throw invalidName('must be 1 to 63 letters, digits, ".", "_" or "-", and start with a letter or a digit')
  }
  return { text, key: nameKey(text) }
}

/** nameKey is what two names share that people would take for the same. */
export function nameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase()
}

function invalidName(message: string, path = '/name'): LessorError {
  return new LessorError('INVALID_REQUEST', `The name ${message}.`, {
    errors: [{ in: 'body', path, message }],
  })
}
