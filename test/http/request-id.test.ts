import t from 'tap'
import { requestId } from '../../src/http/request-id.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/

t.test('a plain inbound x-request-id is kept', async (t) => {
  for (const id of ['abc', '4bf92f35-77b3-4da6-a3ce-929d0e0e4736', 'trace:1/2_3.4~5', 'x'.repeat(128)]) {
    t.equal(requestId({ headers: { 'x-request-id': id } }), id)
  }
})

t.test('one that is missing, long or odd is replaced by a random one', async (t) => {
  for (const id of [undefined, '', 'x'.repeat(129), 'a b', 'a\nb', '{"level":60}', 'é']) {
    t.match(requestId({ headers: { 'x-request-id': id } }), UUID)
  }
  t.not(requestId({ headers: {} }), requestId({ headers: {} }))
})
