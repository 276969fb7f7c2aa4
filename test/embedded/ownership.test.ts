import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { EmbeddedInUse } from '../../src/embedded/errors.ts'
import { startEmbedded } from '../../src/embedded/start-embedded.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { withAdmin } from '../support/template.ts'
import {
  answers,
  ended,
  isRunning,
  makeFolder,
  postmasterPid,
  SERVICE,
  start,
  startService,
} from './helpers.ts'

t.test('a second start on the same folder says so, and the first is unharmed', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const service = await startService(t, directory)
  const pid = await postmasterPid(directory)
  await rejectsLike(t, startEmbedded({ directory }), {
    name: 'EmbeddedInUse',
    directory,
    message: new RegExp(`in ${directory} is in use by another process \\(pid ${service.pid}\\)`),
  })
  t.equal(await postmasterPid(directory), pid)
  await withAdmin(service.url, (sql) => sql`select 1`)
})

t.test('of many starts at once on a new folder one runs, and the others say so', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const starts = await Promise.allSettled(
    Array.from({ length: 6 }, () => startEmbedded({ directory, durable: false })),
  )
  const running = starts.filter((start) => start.status === 'fulfilled').map((start) => start.value)
  const refused = starts.filter((start) => start.status === 'rejected').map((start) => start.reason)
  t.teardown(() => Promise.all(running.map((server) => server.stop())))
  t.equal(running.length, 1)
  for (const reason of refused) t.type(reason, EmbeddedInUse)
  for (const server of running) t.ok(await answers(server))
})

t.test('what a killed service left running is taken over, with its data', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const service = await startService(t, directory)
  await withAdmin(service.url, (sql) => sql`create table kept as select 42 as answer`)
  const leftover = await postmasterPid(directory)
  service.process.kill('SIGKILL')
  await service.end()
  t.equal(await isRunning(leftover), true, 'the killed service leaves PostgreSQL running')
  const heard: string[] = []
  const server = await start(t, directory, { log: (message) => heard.push(message) })
  t.match(heard.join(), /Took over/)
  t.equal(await isRunning(leftover), false)
  const rows = await withAdmin(server.url.reveal(), (sql) => sql`select answer from kept`)
  sameRows(t, [...rows], [{ answer: 42 }])
})

t.test('a service that is killed while it makes its data is no obstacle', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const service = spawn(process.execPath, [SERVICE, directory])
  const exited = once(service, 'exit')
  while (!(await drafts(directory)).some((file) => file.endsWith('postgresql.conf'))) await sleep(5)
  service.kill('SIGKILL')
  await exited
  t.ok(await answers(await start(t, directory)))
  t.strictSame(await drafts(directory), [])
})

t.test('a leftover is found in a folder that was moved', async (t) => {
  const folder = await makeFolder(t)
  const service = await startService(t, join(folder, 'before'))
  const leftover = await postmasterPid(join(folder, 'before'))
  service.process.kill('SIGKILL')
  await service.end()
  await rename(join(folder, 'before'), join(folder, 'after'))
  t.ok(await answers(await start(t, join(folder, 'after'))))
  t.equal(await isRunning(leftover), false)
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(
    `${signal} to the whole process group reaches the service alone, which leaves no PostgreSQL`,
    async (t) => {
      const directory = join(await makeFolder(t), 'postgres')
      const service = await startService(t, directory)
      const pid = await postmasterPid(directory)
      // As the terminal does for Ctrl-C.
      process.kill(-service.pid, signal)
      t.strictSame(await service.end(), { output: ['answers after the signal'], code: 0 })
      await ended(pid)
      t.equal(await isRunning(pid), false)
    },
  )
}

/** drafts lists the files of data folders that are not complete. */
async function drafts(directory: string): Promise<readonly string[]> {
  const files = await readdir(directory, { recursive: true }).catch(() => [])
  return files.filter((file) => file.startsWith('draft-'))
}
