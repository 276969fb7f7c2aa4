import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import type { Rows } from '../../src/pool/contract.ts'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { leavesSessionState } from '../../src/pool/session-state.ts'
import { type Db, type Statement, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { targetOf } from '../support/target.ts'
import { LIMITS } from './fake-driver.ts'

const tagged = (command?: string): Rows => Object.assign([], command === undefined ? {} : { command })

t.test('of the command tags that leave something in a session, none is taken for harmless', async (t) => {
  for (const tag of [
    undefined,
    'SET',
    'RESET',
    'LISTEN',
    'UNLISTEN',
    'PREPARE',
    'DEALLOCATE',
    'DEALLOCATE ALL',
    'DISCARD ALL',
    'DECLARE CURSOR',
    'CLOSE CURSOR',
    'LOAD',
    'DO',
    'CALL',
    'CREATE TABLE',
    'CREATE TABLE AS',
    'SELECT INTO',
    'CREATE VIEW',
    'CREATE FUNCTION',
  ]) {
    t.ok(leavesSessionState(tagged(tag)), String(tag))
  }
  for (const tag of ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'FETCH', 'SAVEPOINT', 'LOCK TABLE']) {
    t.notOk(leavesSessionState(tagged(tag)), tag)
  }
})

/** A tenant's statement, and what would show the next tenant of it. */
interface Trace {
  readonly leave: Statement
  readonly look: Statement
  /** What the next tenant is answered. */
  readonly sees: unknown
}

const TRACES: Readonly<Record<string, Trace>> = {
  'a cursor with hold': {
    leave: sql`declare report cursor with hold for select 'secret of A' as text`,
    look: sql`fetch all from report`,
    sees: '34000',
  },
  'a prepared statement': {
    leave: sql`prepare report as select 'secret of A' as text`,
    look: sql`execute report`,
    sees: '26000',
  },
  'a temporary table': {
    leave: sql`create temporary table report (text text default 'secret of A')`,
    look: sql`insert into pg_temp.report default values returning text`,
    sees: '42P01',
  },
  'a setting': {
    leave: sql`set app.secret = 'secret of A'`,
    look: sql`select current_setting('app.secret', true) as text`,
    sees: [{ text: null }],
  },
  'a subscription': {
    leave: sql`listen secrets`,
    look: sql`select pg_listening_channels() as text`,
    sees: [],
  },
}

async function shared(t: Test) {
  const { url } = await testDatabase(t)
  const target = targetOf(url, { isShared: true })
  const registry = new PoolRegistry({
    limits: { ...LIMITS, sharedMaxConnections: 1 },
    clock: systemClock,
    connect: openConnection,
    locate: async () => target,
  })
  t.teardown(() => registry.destroy(new Error('test over')))
  const tenant = () => {
    const tenantId = randomUUID()
    return <T>(fn: (db: Db) => Promise<T>) =>
      registry.use({ tenantId, generation: 1 }, new AbortController(), fn)
  }
  return { registry, a: tenant(), b: tenant() }
}

for (const [name, { leave, look, sees }] of Object.entries(TRACES)) {
  t.test(`${name} of one tenant is not there for the next, who has another connection`, async (t) => {
    const { a, b, registry } = await shared(t)
    const seen = () =>
      b((db) => db.query(look)).then(
        (rows) => rows.map((row) => ({ ...row })),
        (error: unknown) => errorCode(error),
      )
    await a((db) => db.query(leave))
    t.strictSame(await seen(), sees)
    t.equal(registry.counters().connectionsOpened, 2)
    await a((db) => db.transaction((tx) => tx.query(leave)))
    t.strictSame(await seen(), sees)
    t.equal(registry.counters().connectionsOpened, 3, 'after a transaction as well')
  })
}
