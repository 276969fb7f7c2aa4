import t from 'tap'
import { parseDatabaseUrl } from '../../../src/control/database-url.ts'
import { sql } from '../../../src/pool/statement.ts'
import { WATCH_NAME, WatchSession } from '../../../src/servers/watchdog/watch-session.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import { openStage } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t, { maxConnections: 80 })

/** Long enough for an answer that comes. */
const PATIENCE = { patienceMs: 2_000 }
const SILENCE = { kind: 'silence' } as const

t.test('a watch whose session falls silent looks by another one', async (t) => {
  const proxy = await TcpProxy.start(t, house.url)
  const stage = house.inTest(t)
  const login = async () => parseDatabaseUrl(proxy.url(house.url))
  const { errors, passes, watch } = stage.watch({}, { login, ...PATIENCE })
  await watch.pass()
  t.strictSame([passes(), errors], [1, []])
  const present = new Set(proxy.openings)
  proxy.inflict(SILENCE, (opening) => present.has(opening))
  await watch.pass()
  t.equal(errors.length, 1)
  await watch.pass()
  t.strictSame([passes(), errors.length], [2, 1])
  const sessions = proxy.openings.filter((each) => each.kind === 'session')
  t.strictSame(
    sessions.map(({ application }) => application),
    [WATCH_NAME, WATCH_NAME],
  )
})

t.test('a watch is closed in the midst of a pass whose session is silent', async (t) => {
  const proxy = await TcpProxy.start(t, house.url)
  const stage = house.inTest(t)
  const login = async () => parseDatabaseUrl(proxy.url(house.url))
  const { errors, passes, watch } = stage.watch({}, { login, ...PATIENCE })
  await watch.pass()
  proxy.inflict(SILENCE)
  const pass = watch.pass()
  await watch.close()
  await pass
  t.strictSame([passes(), errors.length], [1, 1])
})

t.test('a session that is silent is closed', async (t) => {
  const proxy = await TcpProxy.start(t, house.url)
  const session = await WatchSession.open(parseDatabaseUrl(proxy.url(house.url)))
  proxy.inflict(SILENCE)
  await session.close()
  t.equal(session.isLost, true)
})

const WAYS = {
  query: (session: WatchSession) => session.query<{ one: number }>(sql`select 1 as one`),
  queryAs: (session: WatchSession) =>
    session.queryAs<{ one: number }>('set local work_mem = 64', sql`select 1 as one`),
}
for (const [name, ask] of Object.entries(WAYS)) {
  t.test(`${name}: a session is given up at whichever of its answers it falls silent`, async (t) => {
    /** Resolves with the answer; undefined when the session was given up. */
    const answer = async (afterBytes: number) => {
      const proxy = await TcpProxy.start(t, house.url)
      const session = await WatchSession.open(parseDatabaseUrl(proxy.url(house.url)), PATIENCE)
      t.teardown(() => session.close())
      proxy.inflict({ kind: 'cut', afterBytes, into: 'silence' })
      try {
        return [...(await ask(session))]
      } catch (error) {
        t.equal(session.isLost, true, `${error}`)
        return undefined
      }
    }
    // No answer is shorter than 15 bytes.
    const cuts = Array.from({ length: 45 }, (_, index) => index * 12)
    const answers = await Promise.all(cuts.map(answer))
    const given = answers.filter((each) => each !== undefined)
    t.strictSame(given, Array(given.length).fill([{ one: 1 }]))
    t.strictSame([answers.at(0), answers.at(-1)], [undefined, [{ one: 1 }]])
  })
}
