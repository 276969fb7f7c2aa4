import t, { Test, type TestOpts } from 'tap'
import { Secret } from '../src/secret.ts'
import { excludes, includes, like, rejectsLike, sameRows, throwsLike } from './support/like.ts'

const TRIED: TestOpts = { name: 'tried' }

/** failed returns whether the assertion fails, tried on a test of its own that does not count. */
async function failed(assertion: (tried: Test) => unknown): Promise<boolean> {
  const tried = new Test(TRIED)
  tried.resume()
  await assertion(tried)
  tried.end()
  await tried.concat()
  return !(tried.results?.ok ?? false)
}

const FORMS = { id: String, n: Number, yes: Boolean, big: BigInt, at: Date, list: Array, f: Function }

t.test('a value is like a pattern by the fields that the pattern names, and whole beneath', async (t) => {
  class Named {
    get name() {
      return 'from the prototype'
    }
  }
  const error = new Error('gone', { cause: { code: '57P01' } })
  const alike: [actual: unknown, pattern: unknown][] = [
    [{ a: 1, b: 2 }, { a: 1 }],
    [{ a: { b: 1, c: 2 } }, { a: { b: 1 } }],
    [
      [{ a: 1, b: 2 }, { a: 2 }],
      [{ a: 1 }, { a: 2 }],
    ],
    [[], []],
    [{}, {}],
    ['abc', 'abc'],
    ['abc', /b/],
    ['abab', /b/g],
    [{ id: 'x', n: 1, yes: true, big: 1n, at: new Date(), list: [1], f: t.same }, FORMS],
    [new Named(), { name: 'from the prototype' }],
    [error, { name: 'Error', message: 'gone', cause: { code: '57P01' } }],
    [{ error }, { error }],
    [{ a: 1 }, { a: 1, b: undefined }],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    [new Date(5), new Date(5)],
    [Buffer.from('a'), Buffer.from('a')],
    [new Map([['a', 1]]), new Map([['a', 1]])],
  ]
  for (const [i, [actual, pattern]] of alike.entries()) like(t, actual, pattern, `pair ${i}`)
  t.equal(await failed((tried) => like(tried, 1, 1)), false, 'tried as the others are')
})

t.test('what t.match lets pass is not like the pattern', async (t) => {
  const unlike: [actual: unknown, pattern: unknown][] = [
    [[1, 2], [1]],
    [[1], []],
    [[1], [1, 2]],
    [{ list: [{ a: 1 }, { a: 2 }] }, { list: [{ a: 1 }] }],
    [{ a: { b: 1 } }, { a: {} }],
    [{ a: 1 }, {}],
    ['abc', 'b'],
    [{ code: '42501' }, { code: '42' }],
    ['1', 1],
    [{ n: '1' }, { n: 1 }],
    [{ a: null }, { a: undefined }],
    [{ a: undefined }, { a: null }],
    [{ a: 1 }, { a: undefined }],
    [{}, { a: 1 }],
    [null, { a: 1 }],
    [undefined, { a: undefined }],
    [[], { length: 0 }],
    [{ 0: 'a', length: 1 }, ['a']],
    [12, /1/],
    ['b', /a/],
    [undefined, String],
    ['1', Number],
    [Number.NaN, Number],
    [{}, Array],
    [new Error('a'), new Error('a')],
    [new Secret('a'), new Secret('a')],
    [new Date(5), new Date(6)],
    [Buffer.from('a'), Buffer.from('b')],
    [new Set([1, 2]), new Set([1])],
    [new Map([['a', '1']]), new Map([['a', 1]])],
  ]
  for (const [i, [actual, pattern]] of unlike.entries())
    t.equal(await failed((tried) => like(tried, actual, pattern)), true, `pair ${i}`)
})

t.test('work that rejects is compared, and work that does not fails', async (t) => {
  const refused = Object.assign(new Error('permission denied'), { code: '42501' })
  t.equal(await rejectsLike(t, Promise.reject(refused), { code: '42501' }), refused)
  t.equal(await rejectsLike(t, () => Promise.reject(refused), refused), refused)
  t.equal(
    throwsLike(t, () => raise(refused), { message: 'permission denied' }),
    refused,
  )

  const red: ((tried: Test) => unknown)[] = [
    (tried) => rejectsLike(tried, Promise.reject(refused), { code: '42' }),
    (tried) => rejectsLike(tried, Promise.resolve(refused), { code: '42501' }),
    (tried) => rejectsLike(tried, async () => refused, { code: '42501' }),
    (tried) => rejectsLike(tried, Promise.reject(undefined), { code: '42501' }),
    (tried) => throwsLike(tried, () => raise(refused), { message: 'permission' }),
    (tried) => throwsLike(tried, () => refused, { code: '42501' }),
    // Not waited for: the test waits all the same.
    (tried) =>
      void rejectsLike(tried, new Promise((_, reject) => setImmediate(reject, refused)), { code: '1' }),
  ]
  for (const [i, assertion] of red.entries()) t.equal(await failed(assertion), true, `assertion ${i}`)
})

t.test('rows are compared whole, whatever the class of their array', async (t) => {
  class Result extends Array<unknown> {}
  const rows = Result.from([{ a: 1 }])
  sameRows(t, rows, [{ a: 1 }])
  sameRows(t, [rows, rows], [[{ a: 1 }], [{ a: 1 }]])
  const wrong = [
    [],
    [{}],
    [{ a: '1' }],
    [{ a: 1, b: undefined }],
    [{ a: 1 }, { a: 1 }],
    { 0: { a: 1 }, length: 1 },
  ]
  for (const [i, expected] of wrong.entries())
    t.equal(await failed((tried) => sameRows(tried, rows, expected)), true, `rows ${i}`)
  t.equal(await failed((tried) => sameRows(tried, undefined, [])), true)
})

t.test('a text is searched only if there is one', async (t) => {
  includes(t, 'one two', 'two')
  excludes(t, 'one two', 'three')
  excludes(t, 'one two', /three/)
  const red: ((tried: Test) => unknown)[] = [
    (tried) => includes(tried, 'one two', 'three'),
    (tried) => includes(tried, undefined, 'three'),
    (tried) => includes(tried, ['one'], 'one'),
    (tried) => includes(tried, 'one', ''),
    (tried) => excludes(tried, 'one two', 'two'),
    (tried) => excludes(tried, 'one two', /two/g),
    (tried) => excludes(tried, undefined, 'two'),
    (tried) => excludes(tried, '', 'two'),
    (tried) => excludes(tried, 'one', ''),
  ]
  for (const [i, assertion] of red.entries()) t.equal(await failed(assertion), true, `assertion ${i}`)
})

t.test('a failure shows what differs, at the line of the test', async (t) => {
  const tried = new Test(TRIED)
  like(tried, { a: 1, b: 2, c: 3 }, { a: 1, b: 3 })
  tried.end()
  const text = await tried.concat()
  const told = String(text)
  includes(t, told, '-  "b": 3,')
  includes(t, told, '+  "b": 2,')
  includes(t, told, 'like.test.ts')
  excludes(t, told, '"c"')
})

function raise(error: Error): never {
  throw error
}
