import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { RunnerDatabase } from '../../stress/runner-database.ts'
import { sameRows } from '../support/like.ts'

async function ask<Row extends object>(url: string, text: string): Promise<readonly Row[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    return [...(await sql.unsafe<Row[]>(text))]
  } finally {
    await sql.end()
  }
}

t.test('a database is the same after a restart and after a crash, but for its sessions', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'lessor-stress-test-'))
  await chmod(folder, 0o711)
  const database = await RunnerDatabase.start(folder, new AbortController().signal)
  t.teardown(async () => {
    await database.stop()
    const data = await realpath(join(folder, 'postgres')).catch(() => folder)
    for (const path of [data, folder]) await rm(path, { recursive: true, force: true })
  })
  const { url } = database
  const started = 'select pg_postmaster_start_time() as at'
  await ask(url, 'create table kept (id int)')
  const times = [await ask<{ at: Date }>(url, started)]
  for (const again of [() => database.restart(), () => database.crash()]) {
    await again()
    t.equal(database.url, url)
    sameRows(t, await ask(url, 'select count(*)::int as rows from kept'), [{ rows: 0 }])
    times.push(await ask<{ at: Date }>(url, started))
  }
  t.equal(new Set(times.map(([row]) => row?.at.getTime())).size, 3)
})
