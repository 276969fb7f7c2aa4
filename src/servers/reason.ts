import { LessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'

/**
 * reasonOf is an error as part of a sentence, without its full stop. What a server says of the work of its
 * administrator holds no secret; what a driver says may.
 */
export function reasonOf(error: unknown): string {
  const code = errorCode(error)
  if (error instanceof LessorError || (error instanceof Error && /^[0-9A-Z]{5}$/.test(code ?? ''))) {
    return error.message.replace(/\.$/, '')
  }
  return code === undefined ? 'it failed' : `it failed (${code})`
}
