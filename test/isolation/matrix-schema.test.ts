import './own-server.ts'
import t from 'tap'
import { ownMatrix } from './matrix-suite.ts'

t.test("placement schema: no attack gets through, not even by the tenant's owner role", (t) =>
  ownMatrix(t, 'schema'),
)
