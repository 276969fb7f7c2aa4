import t from 'tap'
import type { DriverConnection } from '../../../src/pool/driver/connection.ts'
import { errorCode } from '../../../src/pool/driver-errors.ts'
import { openConnection } from '../../../src/pool/open-connection.ts'
import { sql } from '../../../src/pool/statement.ts'
import { settle } from '../fake-driver.ts'
import { fakeServer, greet } from './fake-server.ts'

const TENANT = '0f0e0d0c-0b0a-4908-8706-050403020100'

for (const [what, end] of [
  ['is spent', (connection: DriverConnection) => connection.spend()],
  ['is being closed', (connection: DriverConnection) => void connection.close()],
  ['was dropped', (connection: DriverConnection) => connection.destroy()],
] as const) {
  t.test(`a connection that ${what} refuses all that it is asked for, at once`, async (t) => {
    const target = await fakeServer(t, greet)
    const connection = await openConnection(target, new AbortController().signal)
    t.equal(connection.isUsable, true)
    end(connection)
    t.equal(connection.isUsable, false)
    const asked = {
      statement: connection.run(sql`select 1`).result,
      'with parameters': connection.run(sql`select ${'a'}`).result,
      bound: connection.run(sql`select 1`, TENANT).result,
      begin: connection.command('begin').result,
      copy: connection.copy('copy (select 1) to stdout').result,
      script: connection.script('select 1'),
    }
    const refused = new Map<string, string | undefined>()
    for (const [name, result] of Object.entries(asked))
      result.catch((error: unknown) => refused.set(name, errorCode(error)))
    await settle()
    t.strictSame(
      Object.fromEntries(refused),
      Object.fromEntries(Object.keys(asked).map((name) => [name, 'CONNECTION_CLOSED'])),
    )
    connection.destroy()
    await connection.lost
  })
}
