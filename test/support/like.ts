import type { Test } from 'tap'

// The assertions that tests use in place of tap's t.match, t.notMatch, t.rejects and t.throws wherever a
// pattern is more than one RegExp. tap takes an array by its first elements, `[]` and `{}` by anything, a
// string by a part of it and '1' for 1, so that an assertion by such a pattern hardly ever fails.
// test/support/strict.grit refuses tap's loose forms in all tests.

/**
 * like asserts that a value is like the pattern, and shows what differs. An object of the pattern is
 * compared by the fields that it names, and all else whole:
 *
 * - an array by its length and each of its elements, `{}` as an object without fields;
 * - strings, numbers, dates, maps, sets and bytes as `t.strictSame` does;
 * - a RegExp stands for each string that it matches, and for nothing but strings;
 * - a class stands for each value of its kind: `String`, `Number` (a finite one), `Array`, `Date`;
 * - an instance of any other class, such as an error, stands for that very object;
 * - a field that is `undefined` in the pattern is undefined or missing.
 */
export function like(t: Test, actual: unknown, pattern: unknown, message = 'is like the pattern'): boolean {
  return compare(t, actual, pattern, message, stackOf(like))
}

/**
 * sameRows is t.strictSame for the rows of a query, which the driver returns as an array of a class of its own
 * (Result of postgres.js): an array is an array here, and each row is compared whole.
 */
export function sameRows(t: Test, rows: unknown, expected: unknown, message = 'the same rows'): boolean {
  return t.strictSame(asArray(rows), asArray(expected), message, { stack: stackOf(sameRows) })
}

/** asArray takes lists of such arrays as well, as Promise.all gives them. */
function asArray(value: unknown): unknown {
  return Array.isArray(value) ? Array.from(value, asArray) : value
}

/**
 * rejectsLike asserts that the work rejects with an error like the pattern, and resolves with that error.
 * An error code is compared whole as well: with t.rejects `{ code: '42' }` takes 42501.
 */
export async function rejectsLike(
  t: Test,
  work: Promise<unknown> | (() => Promise<unknown>),
  pattern: object,
  message = 'rejects like the pattern',
): Promise<unknown> {
  const stack = stackOf(rejectsLike)
  const running = (async () => await (typeof work === 'function' ? work() : work))()
  const checked = running.then(
    (value) => void t.fail(`${message}: it did not reject`, { stack, value }),
    (error: unknown) => {
      compare(t, error, pattern, message, stack)
      return error
    },
  )
  // As with t.rejects, the test does not end before an assertion that it does not wait for.
  void t.waitOn(checked)
  return await checked
}

/** throwsLike asserts that the work throws an error like the pattern, and returns that error. */
export function throwsLike(
  t: Test,
  work: () => unknown,
  pattern: object,
  message = 'throws like the pattern',
): unknown {
  const stack = stackOf(throwsLike)
  try {
    work()
  } catch (error) {
    compare(t, error, pattern, message, stack)
    return error
  }
  t.fail(`${message}: it did not throw`, { stack })
  return undefined
}

/** includes asserts that a text is a string that holds the part. */
export function includes(t: Test, text: unknown, part: string, message = `includes ${part}`): boolean {
  const held = typeof text === 'string' && part !== '' && text.includes(part)
  return t.equal(held ? part : text, part, message, { stack: stackOf(includes) })
}

/**
 * excludes asserts that a text is a string, is not empty, and holds neither the part nor a match of it:
 * t.notMatch passes as well if the text is missing.
 */
export function excludes(
  t: Test,
  text: unknown,
  part: string | RegExp,
  message = 'excludes the part',
): boolean {
  const extra = { stack: stackOf(excludes) }
  if (typeof text !== 'string' || text === '')
    return t.fail(`${message}: there is no text`, { ...extra, text })
  if (part === '') return t.fail(`${message}: the part is empty`, extra)
  const held = typeof part === 'string' ? text.includes(part) : text.search(part) !== -1
  return held ? t.fail(message, { ...extra, text }) : t.pass(message)
}

/**
 * named returns what of `actual` the pattern names: `t.strictSame(named(actual, pattern), pattern)` passes
 * if and only if `actual` is like the pattern. A value for which the pattern has a RegExp or a class that
 * stands for it is given as that RegExp or class.
 */
export function named(actual: unknown, pattern: unknown): unknown {
  if (pattern instanceof RegExp) {
    // Not pattern.test, which goes on where the last call stopped if the RegExp is global.
    return typeof actual === 'string' && actual.search(pattern) !== -1 ? pattern : actual
  }
  if (typeof pattern === 'function') return isOf(actual, pattern) ? pattern : actual
  if (typeof pattern !== 'object' || pattern === null) return actual
  if (Array.isArray(pattern)) {
    if (!Array.isArray(actual)) return actual
    return Array.from(actual, (each: unknown, i) => (i < pattern.length ? named(each, pattern[i]) : each))
  }
  if (Object.getPrototypeOf(pattern) !== Object.prototype) {
    const seen = COMPARED.some((type) => pattern instanceof type)
    return seen || actual === pattern ? actual : new Another(actual)
  }
  const fields = Object.entries(pattern)
  if (fields.length === 0 || typeof actual !== 'object' || actual === null || Array.isArray(actual))
    return actual
  // Fields of the prototype count as well: getters, the name of an error.
  return Object.fromEntries(fields.map(([key, wanted]) => [key, named(Reflect.get(actual, key), wanted)]))
}

/** COMPARED are the classes whose instances t.strictSame compares by what they hold: it does not see #private fields. */
const COMPARED = [Date, Map, Set, Uint8Array]

/** Another is in the place of a value that is not the very object of the pattern. */
class Another {
  readonly value: unknown
  constructor(value: unknown) {
    this.value = value
  }
}

function isOf(actual: unknown, type: unknown): boolean {
  switch (type) {
    case String:
      return typeof actual === 'string'
    case Number:
      return Number.isFinite(actual)
    case Boolean:
      return typeof actual === 'boolean'
    case BigInt:
      return typeof actual === 'bigint'
    default:
      return actual === type || (typeof type === 'function' && actual instanceof type)
  }
}

function compare(t: Test, actual: unknown, pattern: unknown, message: string, stack: string): boolean {
  return t.strictSame(named(actual, pattern), pattern, message, { stack })
}

/** stackOf returns the stack above the assertion, so that tap shows the line of the test and not one of this file. */
function stackOf(assertion: (...args: never[]) => unknown): string {
  const holder = { stack: '' }
  Error.captureStackTrace(holder, assertion)
  return holder.stack
}
