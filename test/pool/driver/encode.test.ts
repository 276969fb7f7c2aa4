import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import {
  checkCount,
  checkSize,
  encode,
  encodeAll,
  MAX_PARAMETER_BYTES,
  MAX_PARAMETERS,
  ParameterError,
  typeHint,
} from '../../../src/pool/driver/encode.ts'
import { ARRAYS, OID } from '../../../src/pool/driver/oids.ts'
import { holds } from '../../support/holds.ts'

const ENUM = 16_999
const ENUM_ARRAY = 17_000
const INTERVAL = 1186
const NUMERIC = 1700
const UUID = 2950
const [BOOLS, BYTEAS, INT4S, TEXTS, INT8S] = [1000, 1001, 1007, 1009, 1016]
const [BOXES, FLOAT8S, DATES, TIMESTAMPS, TIMESTAMPTZS] = [1020, 1022, 1182, 1115, 1185]
const [JSONS, JSONBS] = [199, 3807]
const NOON = new Date('2026-11-28T12:00:00.123Z')

function send(value: unknown, type: number): string | null {
  return encode(value, type, '$1')
}

/** refusal is what the error of a value says, whose whole text is in these tests. */
function refusal(value: unknown, type: number): string {
  return refusalOf(() => send(value, type))
}

function refusalOf(fn: () => unknown): string {
  const error = thrown(fn)
  if (!(error instanceof ParameterError)) throw error
  return error.message
}

function thrown(fn: () => unknown): unknown {
  try {
    fn()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** rows runs one case a line. */
function rows(name: string, cases: readonly (readonly [string, unknown, number, string | null])[]): void {
  t.test(name, async (t) => {
    for (const [title, value, type, expected] of cases) t.equal(send(value, type), expected, title)
  })
}

/** refused runs one case a line, of values that cannot be sent. */
function refused(name: string, cases: readonly (readonly [string, unknown, number, string])[]): void {
  t.test(name, async (t) => {
    for (const [title, value, type, expected] of cases) t.equal(refusal(value, type), expected, title)
  })
}

t.test('the types to declare are those that the driver declared, but for arrays', async (t) => {
  const cases: readonly (readonly [string, unknown, number])[] = [
    ['a Date', NOON, OID.timestamptz],
    ['an invalid Date', new Date(Number.NaN), OID.timestamptz],
    ['bytes', new Uint8Array(2), OID.bytea],
    ['a Buffer', Buffer.from('a'), OID.bytea],
    ['true', true, OID.bool],
    ['false', false, OID.bool],
    ['a bigint', 1n, OID.int8],
    ['a string', 'a', 0],
    ['a number', 1, 0],
    ['null', null, 0],
    ['undefined', undefined, 0],
    ['an object', { a: 1 }, 0],
    ['an array', [1], 0],
    ['an array of dates', [NOON], 0],
    ['an array of booleans', [true], 0],
    ['a function', () => 1, 0],
    ['a symbol', Symbol('a'), 0],
    ['a revoked proxy', revoked({}), 0],
    ['a hostile proxy', hostile({}), 0],
  ]
  for (const [title, value, expected] of cases) t.equal(typeHint(value), expected, title)
})

rows('scalars are written as the driver wrote them', [
  ['null', null, OID.text, null],
  ['null as JSON', null, OID.jsonb, null],
  ['a string', 'it\'s \\ "so"', OID.text, 'it\'s \\ "so"'],
  ['an empty string', '', OID.text, ''],
  ['a string of an enum', 'happy', ENUM, 'happy'],
  ['a string beyond the basic plane', '😀', OID.text, '😀'],
  ['a string as bytea is its UTF-8', '\\x41é', OID.bytea, '\\x5c783431c3a9'],
  ['a string as json', 'a"b', OID.json, '"a\\"b"'],
  ['a string as jsonb', '{"a":1}', OID.jsonb, '"{\\"a\\":1}"'],
  ['a number', 1.5, OID.float8, '1.5'],
  ['a number as int4', 7, OID.int4, '7'],
  ['a number as text', 1e21, OID.text, '1e+21'],
  ['a number of an enum or domain', 7, ENUM, '7'],
  ['a number as numeric', 0.1, NUMERIC, '0.1'],
  ['a number as interval', 5, INTERVAL, '5'],
  ['NaN', Number.NaN, OID.float8, 'NaN'],
  ['Infinity', Number.POSITIVE_INFINITY, OID.float4, 'Infinity'],
  ['a number as json', 1.5, OID.json, '1.5'],
  ['the largest safe integer as int8', Number.MAX_SAFE_INTEGER, OID.int8, '9007199254740991'],
  ['a number as timestamptz', 0, OID.timestamptz, '1970-01-01T00:00:00.000Z'],
  ['a number as timestamp', 1, OID.timestamp, '1970-01-01T00:00:00.001Z'],
  ['a number as date', -1, OID.date, '1969-12-31'],
  ['true', true, OID.bool, 't'],
  ['false', false, OID.bool, 'f'],
  ['true as text', true, OID.text, 'true'],
  ['false as varchar', false, OID.varchar, 'false'],
  ['true as json', true, OID.json, 'true'],
  ['a bigint', 2n ** 63n - 1n, OID.int8, '9223372036854775807'],
  ['a bigint as numeric', 10n ** 30n, NUMERIC, `1${'0'.repeat(30)}`],
  ['a bigint as text', -5n, OID.text, '-5'],
  ['a Date', NOON, OID.timestamptz, '2026-11-28T12:00:00.123Z'],
  ['a Date as timestamp', NOON, OID.timestamp, '2026-11-28T12:00:00.123Z'],
  ['a Date as date is its day in UTC', new Date('2026-11-28T23:59:59.999Z'), OID.date, '2026-11-28'],
  ['a Date as json', NOON, OID.jsonb, '"2026-11-28T12:00:00.123Z"'],
  ['bytes', new Uint8Array([0, 255]), OID.bytea, '\\x00ff'],
  ['a Buffer', Buffer.from('ab'), OID.bytea, '\\x6162'],
  ['no bytes', new Uint8Array(0), OID.bytea, '\\x'],
  ['a window on a buffer', new Uint8Array([1, 2, 3]).subarray(1, 2), OID.bytea, '\\x02'],
  ['an ArrayBuffer', new Uint8Array([1, 2]).buffer, OID.bytea, '\\x0102'],
  ['a SharedArrayBuffer', new SharedArrayBuffer(2), OID.bytea, '\\x0000'],
  ['a Date of another realm', runInNewContext('new Date(0)'), OID.date, '1970-01-01'],
  ['bytes of another realm', runInNewContext('new Uint8Array([7])'), OID.bytea, '\\x07'],
])

rows('objects and arrays are JSON to json and jsonb', [
  ['an object', { a: [1, null, 'x'] }, OID.jsonb, '{"a":[1,null,"x"]}'],
  ['an array', [1, [2], null], OID.json, '[1,[2],null]'],
  ['an empty array', [], OID.jsonb, '[]'],
  ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), OID.jsonb, '{"a":1}'],
  ['toJSON', { toJSON: () => 'other' }, OID.jsonb, '"other"'],
  [
    'a class',
    new (class Point {
      x = 1
    })(),
    OID.jsonb,
    '{"x":1}',
  ],
  ['a boxed string', Object('a'), OID.jsonb, '"a"'],
  [
    'a backslash before u',
    { a: '\\u0000', b: '\\\\ud800' },
    OID.jsonb,
    '{"a":"\\\\u0000","b":"\\\\\\\\ud800"}',
  ],
  ['a control character', ['\u0001'], OID.jsonb, '["\\u0001"]'],
  ['a pair that is escaped', rawJson('"\\uD83D\\uDE00"'), OID.jsonb, '"\\uD83D\\uDE00"'],
])

rows('arrays are literals of their type, items by the type of an item', [
  ['numbers', [1, 2], INT4S, '{"1","2"}'],
  ['nothing', [], INT4S, '{}'],
  ['null', [null], TEXTS, '{NULL}'],
  [
    'text',
    ['a', '', 'NULL', ' b ', 'c,d', '{e}', '"f"', 'g\\h'],
    TEXTS,
    '{"a","","NULL"," b ","c,d","{e}","\\"f\\"","g\\\\h"}',
  ],
  [
    'dimensions',
    [
      [1, 2],
      [3, null],
    ],
    INT4S,
    '{{"1","2"},{"3",NULL}}',
  ],
  ['six dimensions', [[[[[[1]]]]]], INT4S, '{{{{{{"1"}}}}}}'],
  ['booleans', [true, false], BOOLS, '{"t","f"}'],
  ['booleans as text', [true], TEXTS, '{"true"}'],
  ['bigints', [1n, 2], INT8S, '{"1","2"}'],
  ['floats', [-0, Number.NaN], FLOAT8S, '{"-0","NaN"}'],
  ['bytes', [Buffer.from('a')], BYTEAS, '{"\\\\x61"}'],
  ['dates', [NOON], DATES, '{"2026-11-28"}'],
  ['timestamps', [NOON, 0], TIMESTAMPS, '{"2026-11-28T12:00:00.123Z","1970-01-01T00:00:00.000Z"}'],
  ['JSON', [{ a: 'b' }, 'c', 1, null], JSONBS, '{"{\\"a\\":\\"b\\"}","\\"c\\"","1",NULL}'],
  ['JSON in dimensions', [[1], [2]], JSONS, '{{"1"},{"2"}}'],
  ['boxes', ['(1,1),(0,0)', null], BOXES, '{"(1,1),(0,0)";NULL}'],
  ['boxes in dimensions', [['(1,1),(0,0)'], ['(2,2),(0,0)']], BOXES, '{{"(1,1),(0,0)"};{"(2,2),(0,0)"}}'],
  ['a subclass', class List extends Array {}.from([1]), INT4S, '{"1"}'],
  ['an array of another realm', runInNewContext('[1]'), INT4S, '{"1"}'],
  ['a proxy of an array', new Proxy([1, 2], {}), INT4S, '{"1","2"}'],
  ['a frozen array', Object.freeze(['a']), TEXTS, '{"a"}'],
  ['a literal of the caller', '[0:1]={1,2}', INT4S, '[0:1]={1,2}'],
])

rows('values that the driver sent wrongly are sent as they are', [
  ["'true' was false", 'true', OID.bool, 'true'],
  ['1 was false', 1, OID.bool, '1'],
  ['microseconds were cut off', '2026-11-28 12:00:00.123456', OID.timestamptz, '2026-11-28 12:00:00.123456'],
  [
    "a timestamp's text was read in the process's time zone",
    '2026-11-28 12:00',
    OID.timestamp,
    '2026-11-28 12:00',
  ],
  ["'now' threw", 'now', OID.timestamptz, 'now'],
  ["'infinity' threw", 'infinity', OID.timestamp, 'infinity'],
  ['Infinity threw', Number.POSITIVE_INFINITY, OID.timestamptz, 'infinity'],
  ['-Infinity threw', Number.NEGATIVE_INFINITY, OID.date, '-infinity'],
  ['-0 lost its sign', -0, OID.float8, '-0'],
  ['the year 1 BC was refused', new Date('0000-02-29T00:00:00Z'), OID.date, '0001-02-29 BC'],
  ['so was 44 BC', new Date('-000043-03-15T12:00:00Z'), OID.timestamptz, '0044-03-15T12:00:00.000Z BC'],
  ['and the year 10000', new Date('+010000-01-01T00:00:00Z'), OID.timestamp, '10000-01-01T00:00:00.000Z'],
  ['and the last date of JavaScript', new Date(8.64e15), OID.date, '275760-09-13'],
  [
    'the year 50 stays the year 50',
    new Date('0050-01-01T00:00:00Z'),
    OID.timestamptz,
    '0050-01-01T00:00:00.000Z',
  ],
  ['null in text[] threw', ['a', null], TEXTS, '{"a",NULL}'],
  ['an array as int[] was 1,2', [1, 2], INT4S, '{"1","2"}'],
  ['the text of an array threw as text[]', '{a}', TEXTS, '{a}'],
])

refused('values that the driver sent wrongly, and that have no right text, are refused', [
  [
    'half a pair became U+FFFD',
    'a\ud83d',
    OID.text,
    'parameter $1 contains half of a surrogate pair, which UTF-8 does not have; see String.toWellFormed()',
  ],
  ['NaN became null', Number.NaN, OID.jsonb, 'parameter $1 is NaN or infinite, which JSON does not have'],
  [
    'an integer past the safe ones was rounded',
    2 ** 60,
    OID.int8,
    'parameter $1 is an integer beyond Number.MAX_SAFE_INTEGER, so its digits are in doubt; send a bigint',
  ],
  [
    'an array became its items with commas',
    [1, 2],
    OID.text,
    'parameter $1 is an array, and the parameter is of no array type that can be sent; cast it (`::int[]`, `::jsonb`), that of an enum, a domain or a composite type twice (`::text[]::mood[]`)',
  ],
  [
    'an object became [object Object]',
    {},
    OID.text,
    'parameter $1 is an object, and the parameter is not JSON; objects are sent as JSON only: cast it (`::jsonb`), or send its text',
  ],
  [
    'a function became its source',
    () => 1,
    OID.text,
    'parameter $1 is a function, which is no value to a database; send a string, a number, ...',
  ],
  [
    'wide numbers were cut to bytes',
    new Int32Array([1000]),
    OID.bytea,
    'parameter $1 is an object, and the parameter is not JSON; objects are sent as JSON only: cast it (`::jsonb`), or send its text',
  ],
])

const NO_ARRAY =
  'is an array, and the parameter is of no array type that can be sent; cast it (`::int[]`, `::jsonb`), that of an enum, a domain or a composite type twice (`::text[]::mood[]`)'
const NO_JSON =
  'is an object, and the parameter is not JSON; objects are sent as JSON only: cast it (`::jsonb`), or send its text'
const RAGGED = 'differs in length or depth from the items before it; arrays within an array must be alike'
const INVALID_DATE = 'is an invalid Date; send a valid one, or null'
const SURROGATE = 'contains half of a surrogate pair, which UTF-8 does not have; see String.toWellFormed()'
const NUL = 'contains the character NUL, which PostgreSQL does not store in text'
const NUL_IN_JSON =
  'has a string with the character NUL or half of a surrogate pair, which PostgreSQL does not store'
const THREW = 'cannot be written as JSON: its toJSON(), or a getter of it, threw'
const UNREADABLE = 'cannot be read: a getter, or the proxy that it is, threw'
const NOT_BYTEA = 'is bytes, and the parameter is not bytea; cast it (`::bytea`), or send text'

refused('what is no value is refused by its place', [
  ['undefined', undefined, OID.text, 'parameter $1 is undefined; use null for NULL'],
  ['undefined as JSON', undefined, OID.jsonb, 'parameter $1 is undefined; use null for NULL'],
  ['undefined in an array', ['a', undefined], TEXTS, 'parameter $1[1] is undefined; use null for NULL'],
  ['a hole', new Array(1), TEXTS, 'parameter $1[0] is undefined; use null for NULL'],
  ['undefined, deep', [['a'], [undefined]], TEXTS, 'parameter $1[1][0] is undefined; use null for NULL'],
  [
    'a function',
    () => 'secret',
    OID.text,
    'parameter $1 is a function, which is no value to a database; send a string, a number, ...',
  ],
  [
    'a symbol',
    Symbol('secret'),
    OID.jsonb,
    'parameter $1 is a symbol, which is no value to a database; send a string, a number, ...',
  ],
])

refused('strings that PostgreSQL cannot store are refused', [
  ['NUL', 'a\0b', OID.text, `parameter $1 ${NUL}`],
  ['NUL as JSON', '\0', OID.jsonb, `parameter $1 ${NUL}`],
  ['NUL as bytea', '\0', OID.bytea, `parameter $1 ${NUL}`],
  ['NUL in an array', ['\0'], TEXTS, `parameter $1[0] ${NUL}`],
  ['NUL inside JSON', { a: ['\0'] }, OID.jsonb, `parameter $1 ${NUL_IN_JSON}`],
  ['NUL in a key of JSON', { 'a\\\0': 1 }, OID.json, `parameter $1 ${NUL_IN_JSON}`],
  ['NUL in JSON in an array', [{ a: '\0' }], JSONBS, `parameter $1[0] ${NUL_IN_JSON}`],
  ['NUL in JSON of its own text', rawJson('"\\u0000"'), OID.jsonb, `parameter $1 ${NUL_IN_JSON}`],
  ['a first half', '\ud83d', OID.text, `parameter $1 ${SURROGATE}`],
  ['a second half', 'a\ude00', UUID, `parameter $1 ${SURROGATE}`],
  ['a half as JSON', '\ud83d', OID.json, `parameter $1 ${SURROGATE}`],
  ['a half inside JSON', ['😀\ud83d'], OID.jsonb, `parameter $1 ${NUL_IN_JSON}`],
  ['a second half inside JSON', { a: '\udc00\ud800' }, OID.json, `parameter $1 ${NUL_IN_JSON}`],
  ['a half in JSON of its own text', rawJson('"\\uDE00"'), OID.json, `parameter $1 ${NUL_IN_JSON}`],
])

refused('numbers that have no such text are refused', [
  ['NaN as json', Number.NaN, OID.json, 'parameter $1 is NaN or infinite, which JSON does not have'],
  [
    'Infinity as jsonb',
    Number.POSITIVE_INFINITY,
    OID.jsonb,
    'parameter $1 is NaN or infinite, which JSON does not have',
  ],
  ['NaN as timestamptz', Number.NaN, OID.timestamptz, `parameter $1 ${INVALID_DATE}`],
  ['a number past all dates', 8.64e15 + 1, OID.date, `parameter $1 ${INVALID_DATE}`],
  ['bytea', 1, OID.bytea, 'parameter $1 is a number, and the parameter is bytea; send a Uint8Array'],
  [
    'a bigint as bytea',
    1n,
    OID.bytea,
    'parameter $1 is a bigint, and the parameter is bytea; send a Uint8Array',
  ],
  [
    'a bigint as jsonb',
    1n,
    OID.jsonb,
    'parameter $1 is a bigint, which JSON does not have; send a number or a string',
  ],
  [
    'a bigint as timestamp',
    1n,
    OID.timestamp,
    'parameter $1 is a bigint, and the parameter is a date; send a Date, or text',
  ],
  [
    'a boolean as a number',
    [true],
    INT4S,
    'parameter $1[0] is a boolean, and the parameter is not; cast it in SQL, or send text',
  ],
  [
    'a boolean as an array',
    true,
    BOOLS,
    'parameter $1 is a boolean, and the parameter is not; cast it in SQL, or send text',
  ],
])

refused('dates that are none, or have no such type, are refused', [
  ['invalid', new Date('never'), OID.timestamptz, `parameter $1 ${INVALID_DATE}`],
  ['invalid as date', new Date(Number.NaN), OID.date, `parameter $1 ${INVALID_DATE}`],
  ['invalid as json', new Date(Number.NaN), OID.json, `parameter $1 ${INVALID_DATE}`],
  ['invalid in an array', [NOON, new Date(Number.NaN)], TIMESTAMPTZS, `parameter $1[1] ${INVALID_DATE}`],
  [
    'as text',
    [NOON],
    TEXTS,
    'parameter $1[0] is a Date, and the parameter is no date or timestamp; cast it in SQL, or send text',
  ],
])

refused('bytes are bytea alone', [
  ['as text', new Uint8Array(1), OID.text, `parameter $1 ${NOT_BYTEA}`],
  ['as json', new Uint8Array(1), OID.json, `parameter $1 ${NOT_BYTEA}`],
  ['as an array', new Uint8Array(1), INT4S, `parameter $1 ${NOT_BYTEA}`],
  ['a buffer as text', new ArrayBuffer(1), OID.text, `parameter $1 ${NOT_BYTEA}`],
])

refused('arrays are refused where no array goes', [
  ['text', [1, 2], OID.text, `parameter $1 ${NO_ARRAY}`],
  ['bytea', [1, 2], OID.bytea, `parameter $1 ${NO_ARRAY}`],
  ['int2vector', [1, 2], 22, `parameter $1 ${NO_ARRAY}`],
  ['record[]', [['a']], 2287, `parameter $1 ${NO_ARRAY}`],
  ['an array of enums', ['happy'], ENUM_ARRAY, `parameter $1 ${NO_ARRAY}`],
  ['no type', [1], 0, `parameter $1 ${NO_ARRAY}`],
])

refused('arrays that PostgreSQL does not have are refused', [
  ['ragged', [[1], [2, 3]], INT4S, `parameter $1[1] ${RAGGED}`],
  ['ragged, deep', [[[1]], [[2, 3]]], INT4S, `parameter $1[1] ${RAGGED}`],
  ['an item beside an array', [[1], 2], INT4S, `parameter $1[1] ${RAGGED}`],
  ['an array beside an item', [1, [2]], INT4S, `parameter $1[1] ${RAGGED}`],
  ['null beside an array', [[1], null], INT4S, `parameter $1[1] ${RAGGED}`],
  [
    'empty within one',
    [[]],
    INT4S,
    'parameter $1 has empty arrays within an array, which PostgreSQL does not have',
  ],
  [
    'empty ones within one',
    [[], []],
    INT4S,
    'parameter $1 has empty arrays within an array, which PostgreSQL does not have',
  ],
  [
    'seven dimensions',
    [[[[[[[1]]]]]]],
    INT4S,
    "parameter $1[0][0][0][0][0][0] is nested deeper than the 6 dimensions of PostgreSQL's arrays",
  ],
  [
    'itself',
    circle(),
    INT4S,
    "parameter $1[0][0][0][0][0][0] is nested deeper than the 6 dimensions of PostgreSQL's arrays",
  ],
])

refused('objects are refused where no JSON goes', [
  ['an object', { secret: 1 }, OID.text, `parameter $1 ${NO_JSON}`],
  ['an object of an enum', { toString: () => 'happy' }, ENUM, `parameter $1 ${NO_JSON}`],
  ['an object in an array', ['a', {}], TEXTS, `parameter $1[1] ${NO_JSON}`],
  ['an object that is like an array', { length: 1, 0: 'a' }, TEXTS, `parameter $1 ${NO_JSON}`],
  ['a Map', new Map([[1, 2]]), OID.text, `parameter $1 ${NO_JSON}`],
  ['a Set', new Set([1]), INT4S, `parameter $1 ${NO_JSON}`],
  ['a boxed string', Object('a'), OID.text, `parameter $1 ${NO_JSON}`],
  ['numbers in a typed array', new Int32Array([1000]), OID.bytea, `parameter $1 ${NO_JSON}`],
  ['a typed array as an array', new Float64Array([1]), FLOAT8S, `parameter $1 ${NO_JSON}`],
  ['a DataView', new DataView(new ArrayBuffer(8)), OID.bytea, `parameter $1 ${NO_JSON}`],
  ['an array that inherits', Object.create([1]), INT4S, `parameter $1 ${NO_JSON}`],
])

refused('JSON that cannot be written is refused without a word of it', [
  [
    'a bigint',
    { secret: 1n },
    OID.jsonb,
    'parameter $1 cannot be written as JSON: it holds a bigint; send a number or a string',
  ],
  ['a circle', circle(), OID.jsonb, 'parameter $1 cannot be written as JSON: it refers to itself'],
  ['a depth', deep(100_000), OID.json, 'parameter $1 cannot be written as JSON: it is nested too deeply'],
  [
    'toJSON that throws',
    {
      toJSON: () => {
        throw new Error('secret')
      },
    },
    OID.json,
    `parameter $1 ${THREW}`,
  ],
  [
    'toJSON that throws no error',
    {
      toJSON: () => {
        throw 'secret'
      },
    },
    OID.json,
    `parameter $1 ${THREW}`,
  ],
  [
    'toJSON that throws what throws',
    {
      toJSON: () => {
        throw hostile({})
      },
    },
    OID.json,
    `parameter $1 ${THREW}`,
  ],
  [
    'toJSON that throws a revoked proxy',
    {
      toJSON: () => {
        throw revoked({})
      },
    },
    OID.json,
    `parameter $1 ${THREW}`,
  ],
  [
    'a getter that throws',
    {
      get a() {
        throw new Error('secret')
      },
    },
    OID.jsonb,
    `parameter $1 ${THREW}`,
  ],
  [
    'toJSON without a value',
    { toJSON: () => undefined },
    OID.jsonb,
    'parameter $1 is nothing in JSON: its toJSON() gives no value',
  ],
  [
    'toJSON with a function',
    { toJSON: () => () => 1 },
    OID.jsonb,
    'parameter $1 is nothing in JSON: its toJSON() gives no value',
  ],
  ['a hostile proxy', hostile({}), OID.jsonb, `parameter $1 ${THREW}`],
  ['a revoked proxy', revoked({}), OID.jsonb, `parameter $1 ${THREW}`],
  [
    'in an array',
    [{}, { a: 1n }],
    JSONBS,
    'parameter $1[1] cannot be written as JSON: it holds a bigint; send a number or a string',
  ],
])

refused('objects whose code throws are refused and throw nothing else', [
  ['a proxy that throws', hostile([1]), INT4S, `parameter $1 ${UNREADABLE}`],
  ['a proxy that is revoked', revoked([1]), INT4S, `parameter $1 ${UNREADABLE}`],
  ['a revoked proxy as text', revoked({}), OID.text, `parameter $1 ${UNREADABLE}`],
  ['a hostile proxy as text', hostile({}), OID.text, `parameter $1 ${NO_JSON}`],
  [
    'an item that throws',
    Object.defineProperty(['a', 'b'], 1, { get: fail }),
    TEXTS,
    `parameter $1[1] ${UNREADABLE}`,
  ],
  ['an item that is revoked', [revoked([])], TEXTS, `parameter $1[0] ${UNREADABLE}`],
  [
    'toString that throws',
    { toString: fail, [Symbol.toPrimitive]: fail },
    OID.text,
    `parameter $1 ${NO_JSON}`,
  ],
  ['a Date that lost itself', Object.create(Date.prototype), OID.timestamptz, `parameter $1 ${NO_JSON}`],
  ['a Date that lost itself, as JSON', Object.create(Date.prototype), OID.jsonb, `parameter $1 ${THREW}`],
])

t.test('a Date is what it is, whatever its class says', async (t) => {
  class Liar extends Date {
    override getTime(): number {
      return fail()
    }
    override toISOString(): string {
      return 'injected'
    }
    override toJSON(): string {
      return 'injected'
    }
  }
  t.equal(send(new Liar(0), OID.timestamptz), '1970-01-01T00:00:00.000Z')
  t.equal(send(new Liar(0), OID.jsonb), '"1970-01-01T00:00:00.000Z"')
})

t.test('an array is read once, so that what was checked is what is sent', async (t) => {
  const reads: (string | symbol)[] = []
  const items = new Proxy(['a', 'b'], {
    get: (target, key) => {
      reads.push(key)
      return Reflect.get(target, key)
    },
  })
  t.equal(send(items, TEXTS), '{"a","b"}')
  t.strictSame(reads, ['length', '0', '1'])
})

t.test('an array that grows while it is read is sent as it was', async (t) => {
  const items = ['a', 'b']
  Object.defineProperty(items, 0, { get: () => items.push('c') && 'a' })
  t.equal(send(items, TEXTS), '{"a","b"}')
})

t.test('an error names the place that it is given, and has neither value nor cause', async (t) => {
  const error = thrown(() => encode(['a', { secret: 'hunter2' }], TEXTS, '$17'))
  t.ok(error instanceof ParameterError)
  t.ok(error instanceof TypeError)
  if (!(error instanceof ParameterError)) return
  t.equal(error.name, 'ParameterError')
  t.equal(error.message, `parameter $17[1] ${NO_JSON}`)
  t.equal(error.cause, undefined)
  t.notOk(error.stack?.includes('hunter2'))
})

t.test('a text that no string can hold is refused', async (t) => {
  const items = new Array(2 ** 14).fill('x'.repeat(2 ** 15))
  t.equal(refusal(items, TEXTS), 'parameter $1 is too large to be sent; send it in parts')
})

t.test('bytes whose text no string can hold are refused', async (t) => {
  t.equal(
    refusal(new Uint8Array(2 ** 28), OID.bytea),
    'parameter $1 is longer than 268435443 bytes; send it in parts',
  )
})

t.test('all parameters of a statement are encoded by their types', async (t) => {
  t.strictSame(encodeAll(['a', 1, null, ['b']], [OID.text, OID.int4, OID.text, TEXTS]), [
    'a',
    '1',
    null,
    '{"b"}',
  ])
  t.strictSame(encodeAll([], []), [])
})

t.test('the first parameter that cannot be sent is named', async (t) => {
  t.equal(
    refusalOf(() => encodeAll(['a', undefined], [OID.text, OID.text])),
    'parameter $2 is undefined; use null for NULL',
  )
  t.equal(
    refusalOf(() => encodeAll(new Array(2), [OID.text, OID.text])),
    'parameter $1 is undefined; use null for NULL',
  )
})

t.test('there are as many types as parameters, or it is a bug', async (t) => {
  t.strictSame(
    thrown(() => encodeAll(['a'], [])),
    new TypeError('bug: 1 parameters for 0 types'),
  )
})

t.test('a statement has at most 65,533 parameters', async (t) => {
  checkCount(MAX_PARAMETERS)
  const message =
    'the statement has 65534 parameters, and at most 65533 can be sent; send a list as one array, as in `any($1::uuid[])`'
  t.equal(
    refusalOf(() => checkCount(65_534)),
    message,
  )
  const values = new Array(65_534).fill(1)
  t.equal(
    refusalOf(() => encodeAll(values, values)),
    message,
  )
})

t.test("a statement's parameters together are bounded, in bytes", async (t) => {
  t.equal(MAX_PARAMETER_BYTES, 1_073_740_798)
  // Each takes four bytes for its length.
  const most = new Array(2 ** 14 - 1).fill('x'.repeat(2 ** 16 - 4))
  const last = `${'€'.repeat(21_500)}xx`
  checkSize([...most, null, last])
  t.equal(
    refusalOf(() => checkSize([...most, null, `${last}x`])),
    "the statement's parameters are 1073740799 bytes, and at most 1073740798 can be sent at once; send them in parts",
  )
})

t.test('whatever the value, there is a text or a ParameterError, and never the value in it', async (t) => {
  const types = fc.constantFrom(0, ENUM, ENUM_ARRAY, UUID, ...Object.values(OID), ...ARRAYS.keys())
  await holds(
    t,
    fc.property(anything(), types, (value, type) => {
      typeHint(value)
      let text: string | null
      try {
        text = send(value, type)
      } catch (error) {
        return error instanceof ParameterError && !error.message.includes('hunter')
      }
      return text === null ? value === null : text.isWellFormed() && !text.includes('\0')
    }),
    { numRuns: 500 },
  )
})

/** anything is any value, with strings that a message would be seen to repeat. */
function anything(): fc.Arbitrary<unknown> {
  return fc.anything({
    maxDepth: 3,
    key: fc.constantFrom('hunter', 'toJSON', '__proto__', 'length', '0'),
    values: [
      fc.boolean(),
      fc.integer(),
      fc.double(),
      fc.constant('hunter'),
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('\0', '\ud800', '\udc00', '"', '\\', 'hunter') }),
      fc.constantFrom(null, undefined, 1n, fail, Symbol('hunter')),
    ],
    withBigInt: true,
    withBoxedValues: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withObjectString: true,
    withSet: true,
    withSparseArray: true,
    withTypedArray: true,
  })
}

/** rawJson is JSON.rawJSON, which TypeScript does not know yet. */
function rawJson(text: string): unknown {
  return Reflect.get(JSON, 'rawJSON')(text)
}

function fail(): never {
  throw new Error('secret')
}

function circle(): unknown[] {
  const circle: unknown[] = []
  circle.push(circle)
  return circle
}

function deep(levels: number): unknown {
  let value: unknown = []
  for (let i = 0; i < levels; i++) value = [value]
  return value
}

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

/** hostile throws from every trap. */
function hostile(target: object): object {
  return new Proxy(target, new Proxy({}, { get: () => fail }))
}
