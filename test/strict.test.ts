import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import t from 'tap'

const STRICT = [
  't.equal(a, 1)',
  't.strictSame(a, [1])',
  "like(t, a, { code: 'X' })",
  't.match(a, /b/)',
  "t.match(a, /b \\/ c/gu, 'why')",
  't.match(a, new RegExp(b))',
  't.rejects(work, /b/)',
  "t.rejects(work, TypeError, 'why')",
  't.throws(() => work(), RangeError)',
  'text.match(/b/)',
  'set.has(a)',
  "Object.hasOwn(a, 'b')",
]

const LOOSE = [
  't.same(a, [1])',
  "child.same(a, 1, 'why')",
  't.notSame(a, 1)',
  't.match(a, b)',
  "t.match(a, 'b')",
  "t.match(a, '/b/', 'why')",
  't.match(a, [/b/])',
  't.match(a, { b: 1 })',
  't.match(a, b ? /b/ : null)',
  't.notMatch(a, /b/)',
  "t.notMatch(a, b, 'why')",
  't.has(a, [])',
  't.hasStrict(a, { b: 1 })',
  't.matchStrict(a, [])',
  't.matchOnly(a, { b: 1 })',
  't.resolveMatch(work, { b: 1 })',
  't.rejects(work)',
  "t.rejects(work, 'why')",
  "t.rejects(work, { code: 'X' })",
  't.rejects(work, REFUSED)',
  't.rejects(work, Error)',
  't.throws(() => work(), LessorError)',
  't.throws(() => work())',
  "t.throws(() => work(), { message: 'm' }, 'why')",
]

/** refusedIn returns the numbers of the lines that the rule refuses, each with what it says to write. */
async function refusedIn(lines: readonly string[], folder: string): Promise<Map<number, string>> {
  const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')
  const told = await new Promise<string>((resolve) => {
    const run = [biome, 'lint', '--reporter=github', '--max-diagnostics=none', 'lines.ts']
    execFile(process.execPath, run, { cwd: folder }, (_, stdout, stderr) => resolve(`${stdout}\n${stderr}`))
  })
  const found = told.matchAll(/^::error title=plugin,file=[^,]*lines\.ts,line=(\d+),.*::(.*)$/gm)
  const refused = new Map([...found].map(([, line, message = '']) => [Number(line), message]))
  if (refused.size === 0 && !told.includes('Checked 1 file'))
    throw new Error(`${lines.length} lines: ${told}`)
  return refused
}

t.test('the rule of the linter refuses assertions that take a part for the whole', async (t) => {
  const lines = [...LOOSE, ...STRICT]
  const folder = t.testdir({
    'lines.ts': `${lines.join('\n')}\n`,
    'biome.json': JSON.stringify({ plugins: [join(import.meta.dirname, 'support/strict.grit')] }),
  })
  const refused = await refusedIn(lines, folder)
  t.strictSame([...refused.keys()].map((line) => lines[line - 1]).sort(), LOOSE.toSorted())
  for (const [line, message] of refused) t.match(message, /Write \w+/, `line ${line} says what to write`)
})

t.test('the rule holds for all tests', async (t) => {
  const { overrides } = JSON.parse(await readFile('biome.json', 'utf8'))
  t.strictSame(overrides[0], { includes: ['test/**'], plugins: ['./test/support/strict.grit'] })
})
