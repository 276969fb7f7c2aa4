import t from 'tap'
import { columnName, PROTO_COLUMN } from '../../../src/pool/driver/columns.ts'
import { DecodeError } from '../../../src/pool/driver/decode.ts'
import { ParameterError } from '../../../src/pool/driver/encode.ts'

t.test(
  'a column that would be the prototype of its row has another name, all others their own',
  async (t) => {
    t.equal(PROTO_COLUMN, '\0__proto__')
    t.strictSame(['__proto__', 'constructor', '', 'a'].map(columnName), [
      PROTO_COLUMN,
      'constructor',
      '',
      'a',
    ])
  },
)

t.test('an error of a value has the name of its class', async (t) => {
  t.equal(new DecodeError('a').name, 'DecodeError')
  t.equal(new ParameterError('a').name, 'ParameterError')
})
