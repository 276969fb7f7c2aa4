import { isLessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'

/** Unfit says what a data server does that it must not, or does not that it must. */
export class Unfit extends Error {
  override readonly name = 'Unfit'
}

const SQLSTATE = /^[0-9A-Z]{5}$/
/** A login that is refused, or a database that is not there, is an answer; other connections that fail are none. */
const ANSWERS = /^(?:28|3D|42)/

/** isRefused says whether the server itself has refused what was tried, for this reason or for any. */
export function isRefused(error: unknown, code?: string): boolean {
  const found = refusalCode(error)
  return found !== undefined && (code === undefined || found === code)
}

/** refusalCode is the SQLSTATE with which the server has refused something; undefined when it was not reached. */
export function refusalCode(error: unknown): string | undefined {
  const cause = isLessorError(error, 'SERVER_UNAVAILABLE') ? error.cause : error
  const code = errorCode(cause)
  if (code === undefined || !SQLSTATE.test(code)) return undefined
  return cause === error || ANSWERS.test(code) ? code : undefined
}
