import t from 'tap'
import { makeRequestIds } from '../../src/http/request-id.ts'
import { like } from '../support/like.ts'

const MADE = /^[A-Za-z0-9_-]{12}\.[0-9a-z]+$/

t.test('a plain inbound x-request-id is kept', async (t) => {
  const requestId = makeRequestIds()
  for (const id of ['abc', '4bf92f35-77b3-4da6-a3ce-929d0e0e4736', 'trace:1/2_3.4~5', 'x'.repeat(128)]) {
    t.equal(requestId({ headers: { 'x-request-id': id } }), id)
  }
})

t.test('one that is missing, long or odd is replaced', async (t) => {
  const requestId = makeRequestIds()
  for (const id of [undefined, '', 'x'.repeat(129), 'a b', 'a\nb', '{"level":60}', 'é']) {
    like(t, requestId({ headers: { 'x-request-id': id } }), MADE)
  }
})

t.test('no two requests have the same, in this process or another', async (t) => {
  const [one, other] = [makeRequestIds(), makeRequestIds()]
  const ids = Array.from({ length: 1000 }, () => [one({ headers: {} }), other({ headers: {} })]).flat()
  t.equal(new Set(ids).size, 2000)
})
