import { ConfigError } from '../config.ts'
import { isLessorError } from '../errors.ts'

/** explainError is an error in one line, with its code where it has one; a wrong configuration has a line for each variable. */
export function explainError(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error))
  if (error instanceof ConfigError) return error.message
  if (isUsageError(error)) return oneLine(error.message)
  const { cause } = error
  // The driver's reason, as "connect ECONNREFUSED 127.0.0.1:5432".
  const reason = isLessorError(error) && cause instanceof Error ? ` ${cause.message}` : ''
  const code = 'code' in error && typeof error.code === 'string' ? ` (${error.code})` : ''
  return oneLine(`${error.message}${reason}`) + code
}

/** isUsageError tells mistakes in the arguments, also those that util.parseArgs finds. */
export function isUsageError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return error.name === 'UsageError' || ('code' in error && /^ERR_PARSE_ARGS_/.test(String(error.code)))
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ')
}
