import { mkdir, readdir, rename } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { acquireLock } from '../../src/embedded/lock.ts'
import { rejectsLike } from '../support/like.ts'
import { makeFolder } from './helpers.ts'

t.test('a lock is held until it is released', async (t) => {
  const folder = await makeFolder(t)
  const lock = await acquireLock(folder)
  await rejectsLike(t, acquireLock(folder), {
    name: 'EmbeddedInUse',
    message: new RegExp(`pid ${process.pid}\\)`),
  })
  await lock.release()
  t.strictSame(await readdir(folder), [])
  await (await acquireLock(folder)).release()
})

t.test('of many who want a lock at once never two have it, and each gets it in turn', async (t) => {
  const folder = await makeFolder(t)
  let held = 0
  let most = 0
  let turns = 0
  const want = async (): Promise<void> => {
    for (;;) {
      const lock = await acquireLock(folder).catch(() => undefined)
      if (lock === undefined) continue
      most = Math.max(most, ++held)
      await new Promise(setImmediate)
      held--
      turns++
      return lock.release()
    }
  }
  await Promise.all(Array.from({ length: 8 }, want))
  t.equal(most, 1)
  t.equal(turns, 8)
})

t.test('what a dead process left is no obstacle and is removed', async (t) => {
  const folder = await makeFolder(t)
  // Closing removes the name under which a socket was bound, so that it is bound under another.
  const dead = createServer().listen(join(folder, 'bound'))
  await new Promise((resolve) => dead.once('listening', resolve))
  await rename(join(folder, 'bound'), join(folder, 'lock-dead'))
  await new Promise((resolve) => dead.close(resolve))
  t.strictSame(await readdir(folder), ['lock-dead'])
  const lock = await acquireLock(folder)
  t.equal((await readdir(folder)).includes('lock-dead'), false)
  await lock.release()
})

t.test('an owner that does not answer counts as one', async (t) => {
  const folder = await makeFolder(t)
  const silent = createServer(() => {}).listen(join(folder, 'lock-silent'))
  await new Promise((resolve) => silent.once('listening', resolve))
  t.teardown(() => silent.close())
  await rejectsLike(t, acquireLock(folder), { name: 'EmbeddedInUse' })
})

// By /proc/self/fd, which other systems do not have.
const isLinux = process.platform === 'linux'
t.test(`a path longer than a socket address ${isLinux ? 'works' : 'is refused'}`, async (t) => {
  const folder = join(await makeFolder(t), 'a'.repeat(100), 'b'.repeat(100))
  await mkdir(folder, { recursive: true })
  if (!isLinux) {
    await rejectsLike(t, acquireLock(folder), { name: 'EmbeddedError', message: /too long for a socket/ })
    return
  }
  const lock = await acquireLock(folder)
  await rejectsLike(t, acquireLock(folder), { name: 'EmbeddedInUse' })
  await lock.release()
})
