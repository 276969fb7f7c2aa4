import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Compiler } from './compiler.ts'
import { findMutants } from './find-mutants.ts'

const FIXTURE = fileURLToPath(new URL('./fixture/', import.meta.url))
const FILE = `${FIXTURE}src/sum.ts`

const compiler = new Compiler(`${FIXTURE}tsconfig.json`)
t.teardown(() => compiler[Symbol.dispose]())

/** mutants is each mutant of a text as "kind: before -> after". */
function mutants(text: string): readonly string[] {
  return findMutants('src/sum.ts', compiler.parse(FILE, text)).map(
    ({ kind, from, to }) => `${kind}: ${from} -> ${to}`,
  )
}

const SEEN: Readonly<Record<string, readonly string[]>> = {
  'if (a) b()': ['condition: a -> true', 'condition: a -> false', 'statement: b() -> ;'],
  'const x = a ? b : c': ['condition: a -> true', 'condition: a -> false'],
  'while (a) ;': ['condition: a -> false'],
  'do { ; } while (a)': ['condition: a -> false'],
  'for (; a; ) ;': ['condition: a -> false'],
  'const x = a < b': ['comparison: < -> <=', 'comparison: < -> >='],
  'const x = a >= b': ['comparison: >= -> >', 'comparison: >= -> <'],
  'const x = a === b': ['comparison: === -> !=='],
  'const x = a && b || c': ['logic: && -> ||', 'logic: || -> &&'],
  'const x = a ?? b': ['logic: ?? -> &&'],
  'a ??= b': ['statement: a ??= b -> ;', 'logic: ??= -> ='],
  'const x = !a': ['boolean: !a -> a'],
  'const x = true': ['boolean: true -> false'],
  'const x = a + b * -c': ['arithmetic: + -> -', 'arithmetic: * -> /', 'arithmetic: -c -> c'],
  'const x = a++': ['arithmetic: a++ -> a--'],
  'const x = --a': ['arithmetic: --a -> ++a'],
  'const f = () => a': ['return: a -> undefined'],
  'function f() { return a < 1 }': [
    'return: a < 1 -> undefined',
    'return: a < 1 -> true',
    'return: a < 1 -> false',
    'comparison: < -> <=',
    'comparison: < -> >=',
  ],
  'function f() { return }': ['statement: return -> ;'],
  'throw a': ['statement: throw a -> ;'],
  'for (;;) { break }': ['statement: break -> ;'],
  'for (;;) { continue }': ['statement: continue -> ;'],
  'function f() { const a = 1; const b = 2 }': ['body: { const a = 1; const b = 2 } -> {}'],
  'const x = await a': ['await: await a -> a'],
  "const x = ['a']": ["array: ['a'] -> []", "string: 'a' -> ''"],
  "const x = ''": ["string: '' -> 'mutated'"],
  [`const x = \`a\${b}\``]: [`string: \`a\${b}\` -> ''`],
  "const x = { 'a': b }": ["object: { 'a': b } -> {}"],
  'const x = a?.b': ['chain: ?. -> !.'],
  'const x = a?.[b]': ['chain: ?. -> !'],
  'const x = a?.(b)': ['chain: ?. -> !'],
  'const x = a.filter(b)': ['call: a.filter(b) -> a'],
  'const x = a.some(b)': ['call: some -> every'],
  'const x = Math.min(a, b)': ['call: min -> max'],
  'using x = a': ['disposal: using -> const'],
  'await using x = a': ['disposal: await using -> const'],
}

t.test('each kind of code has its mutants', async (t) => {
  for (const [text, expected] of Object.entries(SEEN)) t.strictSame(mutants(text), expected, text)
})

const UNSEEN: readonly string[] = [
  "import { a } from 'a'",
  "export { a } from 'a'",
  "type A = 'a' | true",
  "interface A { readonly a: 'a' }",
  "const x = a as 'a'",
  'const x = sql`select 1`',
  `const x = sql\`select \${a}\``,
  "const x = new TypeError('a')",
  `const x = new LessorError(\`a\${b}\`, \`c\`)`,
  `const x = new Error('a' + \`b\${c}\`).valueOf`,
  "const x = this.#log.warn({ a: 'b' }, 'c' + (d ? 'e' : 'f'))",
  "if (a) throw new Error('bug: a')",
  "if (a) { throw new Error('bug: a') }",
]

t.test('what no test can see has none', async (t) => {
  for (const text of UNSEEN) {
    // The removal of the plus in a sentence is arithmetic that does not compile.
    t.strictSame(
      mutants(text).filter((mutant) => mutant !== 'arithmetic: + -> -'),
      [],
      text,
    )
  }
  t.strictSame(mutants("const x = { description: 'a', b: 'c' }"), [
    "object: { description: 'a', b: 'c' } -> {}",
    "string: 'c' -> ''",
  ])
  t.strictSame(mutants("const x = { description: 'a' + 'b', title: 'd' }"), [])
  t.strictSame(mutants("const x = { description: 'a' + b }"), [
    "object: { description: 'a' + b } -> {}",
    "string: 'a' -> ''",
    'arithmetic: + -> -',
  ])
  t.strictSame(mutants("class AError extends Error { constructor() { super('a') } }"), [
    "statement: super('a') -> ;",
  ])
  t.strictSame(mutants("class A extends B { constructor() { super('a') } }"), [
    "statement: super('a') -> ;",
    "string: 'a' -> ''",
  ])
  t.strictSame(mutants('timer.unref()'), [])
  t.strictSame(mutants("logger.info('a')"), ["statement: logger.info('a') -> ;"])
  t.strictSame(mutants("const x = new Error(a === 'b' ? 'c' : 'd')"), [
    "condition: a === 'b' -> true",
    "condition: a === 'b' -> false",
    'comparison: === -> !==',
    "string: 'b' -> ''",
  ])
})

t.test('a mutant says where it is', async (t) => {
  const [mutant] = findMutants('src/sum.ts', compiler.parse(FILE, 'a\n  .b({\n    c: 1 +\n  2})\n'))
  t.equal(mutant?.line, 1)
  const all = findMutants('src/sum.ts', compiler.parse(FILE, '\n  const x = a?.b // c\n'))
  t.strictSame(
    all.map(({ file, line, code, start, end }) => ({ file, line, code, start, end })),
    [{ file: 'src/sum.ts', line: 2, code: 'const x = a?.b // c', start: 14, end: 16 }],
  )
})

t.test('the compiler says what is wrong with another text, and forgets it', async (t) => {
  t.strictSame(compiler.problems(FILE, 'export const a: number = 1\n'), [])
  t.strictSame(compiler.problems(FILE, "export const a: number = ''\n"), [
    "Type 'string' is not assignable to type 'number'.",
  ])
  t.equal(compiler.problems(FILE, 'export const = 1\n')[0], 'Variable declaration expected.')
  // What is no longer used or reached is no fault.
  t.strictSame(compiler.problems(FILE, 'const a = 1\nexport {}\n'), [])
  t.equal(compiler.parse(FILE).text.includes('export function sum('), true)
  t.throws(() => compiler.parse(`${FIXTURE}src/missing.ts`), /does not belong to/)
})
