import t, { type Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

async function behindProxy(t: Test) {
  const { url } = await testDatabase(t)
  const proxy = await TcpProxy.start(t, url)
  const db = new ControlDatabase({
    url: proxy.url(url),
    maxConnections: 2,
    statementTimeoutMs: 500,
    connectTimeoutMs: 1_500,
  })
  t.teardown(() => db.close())
  return { proxy, db }
}

t.test('connections that fall silent for good are replaced, and whoever waits on them is told', async (t) => {
  const { proxy, db } = await behindProxy(t)
  const one = () => db.query(sql`select 1 as one`)
  await Promise.all([one(), one()])
  const present = new Set(proxy.openings)
  t.equal(present.size, 2)
  proxy.inflict({ kind: 'silence' }, (opening) => present.has(opening))
  const refused = { code: 'CONTROL_UNAVAILABLE' }
  // The first two have the silent connections; the third gets a new one in its turn.
  await Promise.all([
    rejectsLike(t, one(), refused),
    rejectsLike(
      t,
      db.transaction((tx) => tx.query(sql`select 1`)),
      refused,
    ),
    t.resolves(db.ping()),
  ])
  like(t, await one(), [{ one: 1 }])
  like(t, await db.transaction((tx) => tx.query(sql`select 2 as two`)), [{ two: 2 }])
})

t.test('a connection that falls silent costs the others nothing', async (t) => {
  const { proxy, db } = await behindProxy(t)
  const silent = Promise.withResolvers<void>()
  await db.transaction(async (tx) => {
    const [mine] = proxy.openings
    const refused = rejectsLike(
      t,
      db.transaction(async (other) => {
        proxy.inflict({ kind: 'silence' }, (opening) => opening !== mine)
        silent.resolve()
        await other.query(sql`select 1`)
      }),
      { code: 'CONTROL_UNAVAILABLE' },
    )
    await silent.promise
    await tx.query(sql`create table kept (id integer)`)
    await refused
    await tx.query(sql`insert into kept values (1)`)
  })
  like(t, await db.query(sql`select id from kept`), [{ id: 1 }])
})

t.test('whoever waits for a connection that does not come free is told', async (t) => {
  const { url } = await testDatabase(t)
  const db = new ControlDatabase({ url, maxConnections: 1, statementTimeoutMs: 500, connectTimeoutMs: 1_500 })
  t.teardown(() => db.close())
  const over = Promise.withResolvers<void>()
  const holding = db.transaction(async (tx) => {
    await over.promise
    return tx.query(sql`select 1 as one`)
  })
  await rejectsLike(t, db.ping(), {
    code: 'CONTROL_UNAVAILABLE',
    cause: { code: 'CONNECT_TIMEOUT', message: 'All 1 connections were in use for 3500 ms.' },
  })
  over.resolve()
  like(t, await holding, [{ one: 1 }], 'who has it goes on')
  like(t, await db.query(sql`select 2 as two`), [{ two: 2 }], 'and its place is free again')
})

t.test('a transaction whose connection falls silent between two statements is told as well', async (t) => {
  const { proxy, db } = await behindProxy(t)
  await rejectsLike(
    t,
    db.transaction(async (tx) => {
      await tx.query(sql`select 1`)
      proxy.inflict({ kind: 'silence' }, () => true)
      await tx.query(sql`select 2`)
    }),
    { code: 'CONTROL_UNAVAILABLE' },
  )
  await proxy.heal()
  like(t, await db.query(sql`select 3 as three`), [{ three: 3 }])
})
