import { answerWithin } from '../control/answer-within.ts'

/** answersWithin says whether a question is answered, well, in so many milliseconds. Never rejects. */
export async function answersWithin(answer: Promise<unknown>, ms: number): Promise<boolean> {
  return answerWithin(answer, ms).then(
    () => true,
    () => false,
  )
}
