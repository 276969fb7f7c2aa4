import './own-server.ts'
import t from 'tap'
import { sharedMatrix } from './matrix-suite.ts'

t.test('placement row: no attack gets through, whatever the application has in its schema', (t) =>
  sharedMatrix(t, 'row'),
)
