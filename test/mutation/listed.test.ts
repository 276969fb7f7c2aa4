import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Compiler } from './compiler.ts'
import { type Listed, readListed, staleOf } from './listed.ts'
import { diffOf, mutantOf } from './mutant.ts'
import { FOLDERS } from './mutation-options.ts'
import { mutantsOf } from './run-mutation.ts'
import { shuffled } from './sample.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const ENTRY: Listed = {
  file: 'src/a.ts',
  code: 'return a < b',
  from: '<',
  to: '<=',
  verdict: 'equivalent',
  why: 'they are never equal',
}

t.test('each entry of the list is a mutant that is there', async (t) => {
  using compiler = new Compiler(join(ROOT, 'tsconfig.build.json'))
  const mutants = mutantsOf(ROOT, compiler, FOLDERS)
  const entries = await readListed(new URL('./survivors.json', import.meta.url))
  t.strictSame(staleOf(entries, mutants), [])
  t.equal(mutants.length > 1_000, true)
})

t.test('an entry that is incomplete or there twice is refused', async (t) => {
  const read = (...entries: readonly unknown[]): Promise<readonly Listed[]> =>
    readListed(join(t.testdir({ 'list.json': JSON.stringify(entries) }), 'list.json'))
  t.strictSame(await read(ENTRY, { ...ENTRY, to: '>=' }), [ENTRY, { ...ENTRY, to: '>=' }])
  await t.rejects(read(ENTRY, ENTRY), /^entry 2 of the listed mutants is there twice/)
  await t.rejects(read({ ...ENTRY, code: 1 }), /^entry 1 of the listed mutants has no "code"/)
  await t.rejects(read({ ...ENTRY, why: ' ' }), /does not say why/)
  await t.rejects(read({ ...ENTRY, verdict: 'fine' }), /has no verdict that is known/)
})

t.test('a mutant is found again by its line, wherever that has moved to', async (t) => {
  const text = '// moved\n  return a < b\n'
  const edit = { kind: 'comparison', start: 20, end: 21, text: '<=' } as const
  t.strictSame(staleOf([ENTRY], [mutantOf('src/a.ts', text, edit)]), [])
  t.strictSame(staleOf([ENTRY], [mutantOf('src/b.ts', text, edit)]), [ENTRY])
  t.equal(diffOf(text, edit), '-   return a < b\n+   return a <= b')
})

t.test('a difference of many lines is cut', async (t) => {
  const text = 'f(\n1,\n2,\n3,\n4,\n5,\n6)\n'
  t.equal(
    diffOf(text, { kind: 'statement', start: 0, end: text.length - 1, text: ';' }),
    ['- f(', '- 1,', '- 2,', '- 3,', '- 4,', '- ...', '+ ;'].join('\n'),
  )
})

t.test('a seed gives one order', async (t) => {
  const items = Array.from({ length: 50 }, (_, place) => place)
  t.strictSame(shuffled(items, 3), shuffled(items, 3))
  t.strictNotSame(shuffled(items, 3), shuffled(items, 4))
  t.strictSame(
    shuffled(items, 3).toSorted((a, b) => a - b),
    items,
  )
})
