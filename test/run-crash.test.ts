import t from 'tap'
import { answers, startTestServer } from './support/server.ts'
import { withAdmin } from './support/template.ts'

t.test('the PostgreSQL of a run does not come back after a crash, so that the run sees it', async (t) => {
  const server = await startTestServer()
  t.teardown(() => server.stop())
  t.equal(await answers(server.url), true)
  await withAdmin(server.url, async (witness) => {
    await witness`select 1`
    // Lost when the server has noticed the crash: it answers no one from then on.
    const lost = witness`select pg_sleep(3600)`.then(
      () => false,
      () => true,
    )
    await withAdmin(server.url, async (victim) => {
      const [session] = await victim<{ pid: number }[]>`select pg_backend_pid() as pid`
      if (session === undefined) throw new Error('bug: no session')
      process.kill(session.pid, 'SIGKILL')
      t.equal(await lost, true)
    })
  })
  let hasEnded = false
  void server.ended.then(() => {
    hasEnded = true
  })
  while (!hasEnded) if (await answers(server.url)) break
  t.equal(hasEnded, true)
  t.equal(await answers(server.url), false)
})
