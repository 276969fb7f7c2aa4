import t from 'tap'
import { NoAnswerError, Question } from '../../src/ops/question.ts'
import { rejectsLike } from '../support/like.ts'

t.test('who asks while a question is under way gets the same answer, then it is asked anew', async (t) => {
  let asked = 0
  const question = new Question(async () => {
    asked += 1
    return asked
  }, 60_000)
  t.strictSame(await Promise.all([question.answer(), question.answer()]), [1, 1])
  t.equal(await question.answer(), 2)
})

t.test('who asks something that hangs hears so in time, and does not ask a second one', async (t) => {
  let asked = 0
  const { promise, resolve } = Promise.withResolvers<string>()
  const question = new Question(() => {
    asked += 1
    return promise
  }, 20)
  await t.rejects(question.answer(), NoAnswerError)
  await rejectsLike(t, question.answer(), { message: 'There was no answer within 20 ms.' })
  t.equal(asked, 1)
  resolve('late')
  t.equal(await question.answer(), 'late')
})

t.test('a refusal reaches who asked, and the next one asks anew', async (t) => {
  const answers = [() => Promise.reject(new Error('refused')), async () => 'yes']
  const question = new Question(() => answers.shift()?.() ?? Promise.reject(new Error('bug')), 60_000)
  await rejectsLike(t, question.answer(), { message: 'refused' })
  t.equal(await question.answer(), 'yes')
})
