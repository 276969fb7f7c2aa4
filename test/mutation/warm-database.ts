// Makes a test database and drops it, so that the server of TEST_DATABASE_URL has the template.
import { testDatabase } from '../support/database.ts'

const ends: (() => Promise<void>)[] = []
await testDatabase({ teardown: (fn) => ends.push(fn) }, { template: 'control' })
for (const end of ends) await end()
