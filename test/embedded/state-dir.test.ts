import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { StateDir } from '../../src/embedded/state-dir.ts'
import { excludes, rejectsLike } from '../support/like.ts'
import { makeFolder } from './helpers.ts'

async function open(t: Test) {
  const path = join(await makeFolder(t), 'deep', '.lessor')
  const warnings: string[] = []
  const state = await StateDir.open(path, (message) => warnings.push(message))
  return { path, state, warnings }
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

t.test('the folder is closed to other users, an existing one as well', async (t) => {
  const closed = process.getuid?.() === 0 ? 0o711 : 0o700
  const { path } = await open(t)
  t.equal(await modeOf(path), closed)
  await chmod(path, 0o777)
  await StateDir.open(path, () => {})
  t.equal(await modeOf(path), closed)
})

t.test('a secret is made once, with mode 0600, and read ever after', async (t) => {
  const { path, state } = await open(t)
  const made = await state.readOrCreateSecret('key', () => 'first')
  t.equal(made.secret.reveal(), 'first')
  t.equal(made.created, true)
  t.equal(await readFile(join(path, 'key'), 'utf8'), 'first\n')
  t.equal(await modeOf(join(path, 'key')), 0o600)
  const read = await state.readOrCreateSecret('key', () => 'second')
  t.equal(read.secret.reveal(), 'first')
  t.equal(read.created, false)
  t.strictSame(await readdir(path), ['key'])
})

t.test('of many makers at once one makes it, and all read the same', async (t) => {
  const { path, state } = await open(t)
  const stored = await Promise.all(
    Array.from({ length: 10 }, (_, n) => state.readOrCreateSecret('key', () => `secret ${n}`)),
  )
  t.equal(new Set(stored.map(({ secret }) => secret.reveal())).size, 1)
  t.equal(stored.filter(({ created }) => created).length, 1)
  t.strictSame(await readdir(path), ['key'])
})

t.test('a secret that others can read is closed to them, with a warning that does not tell it', async (t) => {
  const { path, state, warnings } = await open(t)
  await mkdir(path, { recursive: true })
  await writeFile(join(path, 'key'), 'open secret\n')
  await chmod(join(path, 'key'), 0o644)
  t.equal((await state.readSecret('key'))?.reveal(), 'open secret')
  t.equal(await modeOf(join(path, 'key')), 0o600)
  t.equal(warnings.length, 1)
  t.match(warnings[0], /key was open to other users \(mode 644\)/)
  excludes(t, warnings[0], /open secret/)
})

t.test('an empty secret is refused, a missing one is undefined', async (t) => {
  const { path, state } = await open(t)
  await writeFile(join(path, 'key'), '\n')
  await rejectsLike(
    t,
    state.readOrCreateSecret('key', () => 'new'),
    { name: 'EmbeddedError', message: /is empty/ },
  )
  t.equal(await state.readSecret('other'), undefined)
})
