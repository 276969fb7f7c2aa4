import { LessorError } from '../../errors.ts'

/** MAX_RESULT_BYTES is the limit of one answer where none is set. */
export const MAX_RESULT_BYTES = 64 * 1024 * 1024

/** resultTooLarge is the error of a statement whose answer is above the limit. */
export function resultTooLarge(limit: number): LessorError {
  return new LessorError(
    'RESULT_TOO_LARGE',
    `The answer is larger than MAX_RESULT_BYTES (${limit}); ask for fewer rows or columns. The statement may have taken effect.`,
  )
}
