import { ident, type Param, type Statement, sql } from '../../../src/pool/statement.ts'
import type { Kind } from '../kind.ts'
import {
  type Asking,
  callers,
  differs,
  either,
  exactly,
  mine,
  own,
  ownWords,
  type Question,
  sqlState,
  wild,
} from '../question.ts'

/** Bad is a value that a caller may hand in by mistake, or by the wish of whoever sends him data. */
interface Bad {
  readonly name: string
  readonly value: (asking: Asking) => unknown
  readonly as?: keyof typeof CASTS
  /** What the server may say of it. */
  readonly states?: readonly string[]
  /** What it may come back as, where it may be taken; nothing when it must fail. */
  readonly back?: (asking: Asking) => readonly unknown[]
  /** It may be taken, and come back as anything. */
  readonly isAnything?: boolean
}

const CASTS = {
  text: sql`::text`,
  int: sql`::int`,
  bigint: sql`::bigint`,
  date: sql`::timestamptz`,
  bool: sql`::bool`,
  bytes: sql`::bytea`,
  jsonb: sql`::jsonb`,
  texts: sql`::text[]`,
  ints: sql`::int[]`,
  uuids: sql`::uuid[]`,
} as const

/** The server's words for a text that is no value of the type. */
const NO_VALUE = ['22P02', '22P03', '22007', '22008', '22003', '22021', '22P05', '42846', '42804', '2202E']

function throwing({ nonce }: Asking): () => never {
  return () => {
    throw new Error(ownWords(nonce))
  }
}

function circular(): object {
  const value: { self?: object; list: unknown[] } = { list: [] }
  value.self = value
  value.list.push(value)
  return value
}

const BAD: readonly Bad[] = [
  { name: 'invalid Date', value: () => new Date(Number.NaN), as: 'date' },
  { name: 'invalid Date for text', value: () => new Date(Number.NaN) },
  { name: 'Date beyond all', value: () => new Date(8.64e15), as: 'date', states: NO_VALUE, isAnything: true },
  { name: 'undefined', value: () => undefined },
  { name: 'undefined for a number', value: () => undefined, as: 'int' },
  { name: 'BigInt in JSON', value: ({ nonce }) => ({ deep: [{ nonce: BigInt(nonce) }] }), as: 'jsonb' },
  { name: 'circular JSON', value: circular, as: 'jsonb' },
  {
    name: 'toJSON that throws',
    value: (asking) => ({ toJSON: throwing(asking) }),
    as: 'jsonb',
  },
  {
    name: 'getter that throws',
    value: (asking) => Object.defineProperty({}, 'x', { enumerable: true, get: throwing(asking) }),
    as: 'jsonb',
  },
  {
    name: 'toString that throws',
    value: (asking) => ({ toString: throwing(asking) }),
    isAnything: true,
  },
  {
    name: 'toPrimitive that throws',
    value: (asking) => ({ [Symbol.toPrimitive]: throwing(asking) }),
    isAnything: true,
  },
  {
    name: 'Proxy that throws',
    value: (asking) => new Proxy({}, { get: throwing(asking), ownKeys: throwing(asking) }),
    as: 'jsonb',
    isAnything: true,
  },
  { name: 'object without a prototype', value: () => Object.create(null), isAnything: true },
  { name: 'toJSON of undefined', value: () => ({ toJSON: () => undefined }), as: 'jsonb', states: NO_VALUE },
  { name: 'symbol', value: () => Symbol('x') },
  { name: 'symbol for a number', value: () => Symbol.iterator, as: 'int' },
  { name: 'function', value: () => () => 1 },
  { name: 'function for JSON', value: () => () => 1, as: 'jsonb', states: NO_VALUE },
  { name: 'promise', value: () => Promise.resolve(1), isAnything: true },
  { name: 'Map', value: () => new Map([[1, 2]]), as: 'jsonb', states: NO_VALUE, isAnything: true },
  { name: 'NUL in text', value: ({ nonce }) => `a\0${nonce}`, states: ['22021'] },
  { name: 'NUL in JSON', value: () => ({ x: 'a\0b' }), as: 'jsonb', states: ['22P05', '22021'] },
  {
    name: 'NUL in an array',
    value: ({ nonce }) => ['a', `b\0${nonce}`],
    as: 'texts',
    states: ['22021'],
  },
  {
    name: 'lone surrogate',
    value: () => 'a\ud800b\udc00',
    states: ['22021'],
    back: () => ['a\ud800b\udc00'.toWellFormed()],
  },
  {
    name: 'lone surrogate in JSON',
    value: () => ({ x: '\udfff' }),
    as: 'jsonb',
    states: NO_VALUE,
    isAnything: true,
  },
  { name: 'text for a number', value: ({ nonce }) => `no number ${nonce}`, as: 'int', states: NO_VALUE },
  { name: 'number in text', value: () => '12', as: 'int', back: () => [12] },
  { name: 'fraction for a whole number', value: () => 1.5, as: 'int', states: NO_VALUE },
  { name: 'NaN for a whole number', value: () => Number.NaN, as: 'int', states: NO_VALUE },
  {
    name: 'Infinity for a big number',
    value: () => Number.POSITIVE_INFINITY,
    as: 'bigint',
    states: NO_VALUE,
  },
  { name: 'number too large', value: () => 2 ** 31, as: 'int', states: NO_VALUE },
  { name: 'BigInt too large', value: () => 2n ** 64n, as: 'bigint', states: NO_VALUE },
  { name: 'text for a Boolean', value: () => 'perhaps', as: 'bool', states: NO_VALUE, isAnything: true },
  { name: 'text for a date', value: () => 'never', as: 'date', states: NO_VALUE },
  { name: 'number for a date', value: () => 1e300, as: 'date', states: NO_VALUE, isAnything: true },
  { name: 'text for bytes', value: () => 'x', as: 'bytes', states: NO_VALUE, isAnything: true },
  { name: 'text that is no JSON', value: () => '{"x":', as: 'jsonb', states: NO_VALUE, isAnything: true },
  {
    name: 'null in a text array',
    value: () => ['a', null],
    as: 'texts',
    back: () => [['a', null]],
  },
  {
    name: 'only null in a text array',
    value: () => [null],
    as: 'texts',
    back: () => [[null]],
  },
  { name: 'undefined in a text array', value: () => ['a', undefined], as: 'texts' },
  { name: 'hole in a text array', value: () => new Array(2), as: 'texts', back: () => [[null, null]] },
  { name: 'symbol in a text array', value: () => ['a', Symbol('x')], as: 'texts' },
  { name: 'number in a text array', value: () => ['a', 1], as: 'texts', back: () => [['a', '1']] },
  { name: 'object in a text array', value: () => ['a', {}], as: 'texts', isAnything: true },
  {
    name: 'nested text arrays',
    value: () => [
      ['a', 'b'],
      ['c', 'd'],
    ],
    as: 'texts',
    states: NO_VALUE,
    back: () => [
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
    ],
  },
  { name: 'ragged text arrays', value: () => [['a', 'b'], ['c']], as: 'texts', states: NO_VALUE },
  { name: 'mixed text arrays', value: () => ['a', ['b']], as: 'texts', states: NO_VALUE },
  { name: 'circular array', value: circularArray, as: 'texts', states: NO_VALUE },
  {
    name: 'numbers as an array',
    value: () => [1, 2, 3],
    as: 'ints',
    states: NO_VALUE,
    back: () => [[1, 2, 3], '{1,2,3}'],
  },
  {
    name: 'numbers and null as an array',
    value: () => [1, null],
    as: 'ints',
    states: NO_VALUE,
    back: () => [[1, null], '{1,NULL}'],
  },
  {
    name: 'empty array of numbers',
    value: () => [],
    as: 'ints',
    states: NO_VALUE,
    back: () => [[], '{}'],
  },
  { name: 'texts in an array of numbers', value: () => ['x'], as: 'ints', states: NO_VALUE },
  { name: 'text in an array of UUIDs', value: () => ['x'], as: 'uuids', states: NO_VALUE },
  { name: 'text for an array', value: () => '{a', as: 'texts', states: NO_VALUE, isAnything: true },
  { name: 'object for an array', value: () => ({ length: 2, 0: 'a' }), as: 'texts', states: NO_VALUE },
  { name: 'dates in an array', value: () => [new Date(Number.NaN)], as: 'texts', isAnything: false },
]

function circularArray(): unknown[] {
  const list: unknown[] = ['a']
  list.push(list)
  return list
}

const UNSENDABLE: readonly (() => unknown)[] = [
  () => undefined,
  () => Symbol('x'),
  () => ({ toString: () => Symbol('x') }),
]

/** One statement text for good values and bad ones, so that nothing but the number and the marker tells answers apart. */
function valued(value: Param, asking: Asking): Statement {
  return sql`select ${value}::text as value, ${mine(asking)} from markers m`
}

/**
 * BURSTS are several bad ones of one tenant at once among good ones of all tenants, of the same text: where each bad one moves the
 * answers on by one, they move by a whole statement, its begin and its commit.
 */
export const BURSTS: readonly Kind[] = [
  {
    name: 'a burst of bad parameters among good ones',
    weight: 1,
    play: async (scene) => {
      const { random, stage } = scene
      const bad = Array.from({ length: random.pick([1, 2, 3, 3, 4, 6]) }, () => ({ of: scene, isBad: true }))
      const good = Array.from({ length: 12 }, () => ({
        of: scene.as(random.pick(stage.house.tenants)),
        isBad: false,
      }))
      await Promise.all(
        random.shuffled([...bad, ...good]).map(({ of, isBad }) => {
          const asking = of.asking()
          const value = isBad ? wild(random.pick(UNSENDABLE)()) : `good ${asking.nonce}`
          const statement = valued(value, asking)
          const error = callers(asking, 1)
          const answer = exactly([{ value, ...own(asking) }])
          return of.use((db) => of.ask(db, isBad ? { statement, error } : { statement, answer }))
        }),
      )
    },
  },
]

/** PARAMETERS are statements with a parameter that cannot be sent, or that the server cannot take. */
export const PARAMETERS: readonly Kind[] = [
  ...BAD.map((bad) => ({
    name: `parameter: ${bad.name}`,
    weight: 1,
    make: (asking: Asking) => questionOf(bad, asking),
  })),
  ...[65_533, 65_534, 65_535, 70_000].map((count) => ({
    name: `${count} parameters`,
    weight: 0.1,
    isHeavy: true,
    make: (asking: Asking) => countQuestion(count, asking),
  })),
  {
    name: 'identifier too long',
    weight: 1,
    make: (asking) => {
      const name = 'x'.repeat(100)
      return {
        statement: sql`select 1 as ${ident(name)}, ${mine(asking)} from markers m`,
        answer: exactly([{ [name.slice(0, 63)]: 1, ...own(asking) }]),
        error: callers(asking),
      }
    },
  },
  {
    name: 'identifier of nothing',
    weight: 1,
    make: (asking) => ({
      statement: sql`select 1 as ${ident('')}, ${mine(asking)} from markers m`,
      error: either(callers(asking), sqlState(['42601'])),
    }),
  },
  {
    name: 'NUL in an identifier',
    weight: 1,
    make: (asking) => ({
      statement: sql`select 1 as ${ident(`a\0b${asking.nonce}`)}, ${mine(asking)} from markers m`,
      error: either(callers(asking), sqlState(['42601', '08P01', '22021'])),
    }),
  },
  {
    name: 'identifier that is no text',
    weight: 1,
    make: (asking) => ({
      statement: sql`select 1 as ${ident(undefined as unknown as string)}, ${mine(asking)} from markers m`,
      error: callers(asking),
    }),
  },
  {
    name: 'lone surrogate in an identifier',
    weight: 1,
    make: (asking) => ({
      statement: sql`select 1 as ${ident('a\ud800')}, ${mine(asking)} from markers m`,
      answer: exactly([{ 'a\ufffd': 1, ...own(asking) }]),
      error: either(callers(asking), sqlState(['22021'])),
    }),
  },
]

/** The bad parameter stands first, third, or behind one of the same that is good. */
function questionOf(bad: Bad, asking: Asking): Question {
  const { value, as = 'text', states = [], back, isAnything = false } = bad
  const made = wild(value(asking))
  const [before, others, place] = asking.random.pick(PLACES)
  const statement = sql`select ${before(made, CASTS[as])}, ${mine(asking)} from markers m`
  const error = either(callers(asking, place), sqlState(states))
  if (!isAnything && back === undefined) return { statement, error }
  const allowed = isAnything ? undefined : back?.(asking)
  return {
    statement,
    error,
    answer: (rows) => {
      const [row] = rows as readonly { value?: unknown }[]
      if (allowed !== undefined) {
        const wrongs = allowed.map((each) => exactly([{ ...others, value: each, ...own(asking) }])(rows))
        return wrongs.includes(undefined) ? undefined : wrongs[0]
      }
      if (rows.length !== 1) return `${rows.length} rows instead of 1`
      return differs(row, { ...others, value: row?.value, ...own(asking) })
    },
  }
}

type Before = (value: Param, cast: Statement) => Statement

const PLACES: readonly (readonly [Before, Record<string, unknown>, number])[] = [
  [(value, cast) => sql`${value}${cast} as value`, {}, 1],
  [(value, cast) => sql`${7}::int as a, ${'b'}::text as b, ${value}${cast} as value`, { a: 7, b: 'b' }, 3],
  [(value, cast) => sql`${null}${cast} as a, ${value}${cast} as value`, { a: null }, 2],
]

const templates = new Map<number, TemplateStringsArray>()

/** The number of the question is the first parameter; all others are ones. */
function countQuestion(count: number, asking: Asking): Question {
  let strings = templates.get(count)
  if (strings === undefined) {
    const parts = ['select ', '::int as nonce, array_length(array[', ...new Array(count - 3).fill(',')]
    parts.push('::int], 1) as length, m.marker from markers m where ', '::int = 1')
    // The first hole is the number, the last one a condition, so that parameters stand at both ends.
    strings = Object.assign(parts, { raw: parts })
    templates.set(count, strings)
  }
  const { nonce, tenant } = asking
  const values = [nonce, ...new Array<number>(count - 1).fill(1)]
  const statement = sql(strings, ...values)
  const answer = exactly([{ nonce, length: count - 2, marker: tenant.marker }])
  return count > 65_535
    ? { statement, error: callers(asking) }
    : count > 65_533
      ? { statement, answer, error: callers(asking) }
      : { statement, answer }
}
