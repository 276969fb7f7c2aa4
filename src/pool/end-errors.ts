import { LessorError } from '../errors.ts'
import type { Entry } from './entry.ts'

/** shuttingDown is what new work gets once the registry is closed. */
export function shuttingDown(): LessorError {
  return new LessorError('SHUTTING_DOWN', 'The service is shutting down and takes no new work.', {
    retryAfterSeconds: 5,
  })
}

/** drainDeadline is what work gets that still ran when its evicted entry had to be closed. */
export function drainDeadline(entry: Entry): LessorError {
  return entry.evicted === 'shutdown'
    ? shuttingDown()
    : new LessorError(
        'CONNECTION_LOST',
        `The pool was closed (${entry.evicted}) while the request still ran.`,
        {
          retryAfterSeconds: 1,
        },
      )
}
