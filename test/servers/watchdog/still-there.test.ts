import { execFileSync } from 'node:child_process'
import t from 'tap'
import { openStage } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t)

/** Stops a process, so that it takes no notice of what ends it, until the returned function is called. */
function freeze(pid: number): () => void {
  const signal = (name: string) => execFileSync('kill', [`-${name}`, String(pid)])
  signal('STOP')
  return () => signal('CONT')
}

t.test('a session that was ended and is still there is told of and counted once', async (t) => {
  const stage = house.inTest(t)
  const login = await stage.login()
  const session = await stage.session(login)
  await session.run('begin; select 1')
  const { blocked, ended, errors, until, watch } = stage.watch(
    { transactionMs: 0 },
    { offences: { count: 2, withinMs: 600_000 } },
  )
  const goOn = freeze(session.pid)
  try {
    for (let pass = 0; pass < 5; pass++) {
      await watch.pass()
      await watch.settled()
      t.equal(await session.isAlive(), true)
    }
  } finally {
    goOn()
  }
  await until(async () => !(await session.isAlive()))
  t.strictSame(
    ended.map(({ login: of, reason }) => [of, reason]),
    [[login, 'transaction']],
  )
  t.strictSame([blocked, errors], [[], []])

  const again = await stage.session(login)
  await again.run('begin; select 1')
  await until(async () => !(await again.isAlive()))
  t.equal(ended.length, 2, 'another one counts')
  await until(async () => blocked.length > 0)
})
