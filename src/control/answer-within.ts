import { LessorError } from '../errors.ts'

/**
 * answerWithin resolves as `answer` does. A database that is stopped, or behind a firewall that drops
 * everything, never answers: past the time it counts as away, and what comes later is ignored.
 * @throws LessorError CONTROL_UNAVAILABLE after `ms`
 */
export async function answerWithin<T>(answer: Promise<T>, ms: number): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const message = `The control database did not answer within ${ms} ms.`
    late.reject(new LessorError('CONTROL_UNAVAILABLE', message, { retryAfterSeconds: 1 }))
  }, ms)
  timer.unref()
  try {
    return await Promise.race([answer, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
