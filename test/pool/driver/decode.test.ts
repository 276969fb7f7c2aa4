import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import postgres from 'postgres'
import t from 'tap'
import { DecodeError, decoderOf } from '../../../src/pool/driver/decode.ts'
import { ARRAYS, OID } from '../../../src/pool/driver/oids.ts'
import { holds } from '../../support/holds.ts'

const [BOOLS, BYTEAS, INT2S, INT4S, TEXTS, INT8S, OIDS] = [1000, 1001, 1005, 1007, 1009, 1016, 1028]
const [BOXES, FLOAT4S, FLOAT8S, TIMESTAMPS, DATES, TIMESTAMPTZS] = [1020, 1021, 1022, 1115, 1182, 1185]
const [JSONS, NUMERICS, UUIDS, JSONBS] = [199, 1231, 2951, 3807]

/** What the driver reads results with by itself. */
const { parsers } = postgres({ fetch_types: false }).options

function read(text: string, type: number): unknown {
  const decode = decoderOf(type)
  return decode === undefined ? text : decode(text)
}

function refusal(text: string, type: number): string {
  try {
    read(text, type)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    return error.message
  }
  throw new Error('nothing was refused')
}

function rows(name: string, cases: readonly (readonly [string, string, number, unknown])[]): void {
  t.test(name, async (t) => {
    for (const [title, text, type, expected] of cases) {
      const value = read(text, type)
      t.strictSame(value, expected, title)
      t.ok(isDeepStrictEqual(value, expected), `${title}: 0 and -0 differ`)
    }
  })
}

function refused(name: string, cases: readonly (readonly [string, string, number, string])[]): void {
  t.test(name, async (t) => {
    for (const [title, text, type, expected] of cases) t.equal(refusal(text, type), expected, title)
  })
}

function at(iso: string): Date {
  return new Date(iso)
}

t.test('scalars are read as the driver reads them', async (t) => {
  const cases: readonly (readonly [number, readonly string[]])[] = [
    [OID.bool, ['t', 'f']],
    [OID.int2, ['0', '-32768', '32767']],
    [OID.int4, ['0', '-2147483648', '2147483647']],
    [OID.oid, ['4294967295']],
    [OID.float4, ['1.5', '-0', '1e-37', 'NaN', 'Infinity', '-Infinity']],
    [OID.float8, ['0.1', '-0', '1.7976931348623157e+308', '5e-324', 'NaN', 'Infinity', '-Infinity']],
    [OID.json, ['{"a": [1, null]}', 'null', '"x"', '1.0']],
    [OID.jsonb, ['{"__proto__": 1}', '[]', 'true']],
    [OID.bytea, ['\\x', '\\x00ff5c']],
    [OID.date, ['2026-11-28', '0001-01-01', '9999-12-31']],
    [
      OID.timestamptz,
      ['2026-11-28 12:00:00+00', '1000-01-01 00:00:00.1+00', '9999-12-31 23:59:59.999999+00'],
    ],
    [OID.timestamptz, ['2026-11-28 12:00:00.123999+01', '2026-11-28 12:00:00-03:30']],
  ]
  for (const [type, texts] of cases) {
    const parse = parsers[type]
    if (parse === undefined) throw new Error(`the driver has no parser of ${type}`)
    for (const text of texts) {
      t.ok(isDeepStrictEqual(read(text, type), parse(text)), `${type}: ${text}`)
    }
  }
})

t.test('the driver reads no other scalar, and its text is the value', async (t) => {
  const scalars = Object.values(OID).filter((type) => decoderOf(type) !== undefined)
  t.strictSame(scalars.map(String).sort(), Object.keys(parsers).sort())
  for (const type of [OID.int8, OID.text, OID.varchar, 1700, 2950, 1186, 22, 30, 2287, 17_000]) {
    t.equal(decoderOf(type), undefined, String(type))
  }
})

const EIGHT = at('2026-11-28T08:00:00Z')

rows('values that the driver read wrongly are read as they are', [
  ['infinity was an invalid date', 'infinity', OID.timestamptz, Number.POSITIVE_INFINITY],
  ['-infinity was an invalid date', '-infinity', OID.date, Number.NEGATIVE_INFINITY],
  ['a date BC was invalid', '0044-03-15 BC', OID.date, at('-000043-03-15T00:00:00Z')],
  ['a time BC was invalid', '0001-02-29 12:00:00+00 BC', OID.timestamptz, at('0000-02-29T12:00:00Z')],
  ['the year 1 was 2001', '0001-01-01 00:00:00+00', OID.timestamptz, at('0001-01-01T00:00:00Z')],
  ['the year 50 was 1950', '0050-02-03 00:00:00', OID.timestamp, at('0050-02-03T00:00:00Z')],
  ['a year of five digits', '12345-06-07 01:02:03.5+00', OID.timestamptz, at('+012345-06-07T01:02:03.5Z')],
  ['a timestamp was in the time zone of the process', '2026-11-28 08:00:00', OID.timestamp, EIGHT],
  [
    'a zone with seconds was invalid',
    '1890-01-01 00:53:28+00:53:28',
    OID.timestamptz,
    at('1890-01-01T00:00:00Z'),
  ],
  [
    'bytes in the escape format lost two and became others',
    'a\\\\b\\000\\377 ',
    OID.bytea,
    Buffer.from([0x61, 0x5c, 0x62, 0, 255, 0x20]),
  ],
  ['no bytes in the escape format', '', OID.bytea, Buffer.alloc(0)],
  ['NULL in an array was the text NULL', '{a,NULL}', TEXTS, ['a', null]],
  [
    'dimensions were flattened',
    '{{a,b},{c,d}}',
    TEXTS,
    [
      ['a', 'b'],
      ['c', 'd'],
    ],
  ],
  ['a lower bound was an item more', '[0:1]={a,b}', TEXTS, ['a', 'b']],
  ['int[] was its text', '{1,2}', INT4S, [1, 2]],
])

rows('dates and times are read in every form of DateStyle ISO', [
  ['a zone with minutes', '2026-11-28 13:30:00+05:30', OID.timestamptz, EIGHT],
  ['a zone to the west', '2026-11-28 04:30:00-03:30', OID.timestamptz, EIGHT],
  ['a zone to the west with seconds', '2026-11-28 07:59:29-00:00:31', OID.timestamptz, EIGHT],
  [
    'the first BC of a zone',
    '0001-12-31 23:59:59.999+00 BC',
    OID.timestamptz,
    at('0000-12-31T23:59:59.999Z'),
  ],
  ['tenths', '2026-11-28 08:00:00.1', OID.timestamp, at('2026-11-28T08:00:00.100Z')],
  ['microseconds are cut off', '2026-11-28 08:00:00.000999', OID.timestamp, EIGHT],
  ['the last that a Date holds', '275760-09-13', OID.date, new Date(8.64e15)],
  ['the first of PostgreSQL', '4714-11-24 00:00:00+00 BC', OID.timestamptz, at('-004713-11-24T00:00:00Z')],
])

rows('arrays are read by the type of their items', [
  ['booleans', '{t,f,NULL}', BOOLS, [true, false, null]],
  ['int2', '{1,-2}', INT2S, [1, -2]],
  ['oid', '{4294967295}', OIDS, [4_294_967_295]],
  ['int8 stays text', '{9223372036854775807}', INT8S, ['9223372036854775807']],
  ['numeric stays text', '{1.10}', NUMERICS, ['1.10']],
  ['float4', '{1.5,NaN}', FLOAT4S, [1.5, Number.NaN]],
  ['float8', '{Infinity,-0}', FLOAT8S, [Number.POSITIVE_INFINITY, -0]],
  ['uuid', '{c0ffee00-0b0a-4908-8706-050403020100}', UUIDS, ['c0ffee00-0b0a-4908-8706-050403020100']],
  ['bytea, hex', '{"\\\\x6162"}', BYTEAS, [Buffer.from('ab')]],
  [
    'bytea, escape',
    '{a,"\\\\\\\\","\\\\001"}',
    BYTEAS,
    [Buffer.from('a'), Buffer.from('\\'), Buffer.from([1])],
  ],
  ['json', '{"{\\"a\\": 1}",null,NULL,"\\"x\\""}', JSONS, [{ a: 1 }, null, null, 'x']],
  ['jsonb', '{"[1, 2]"}', JSONBS, [[1, 2]]],
  ['date', '{2026-11-28,infinity}', DATES, [at('2026-11-28T00:00:00Z'), Number.POSITIVE_INFINITY]],
  ['timestamp', '{"2026-11-28 08:00:00"}', TIMESTAMPS, [EIGHT]],
  [
    'timestamptz',
    '{{"2026-11-28 08:00:00+00"},{"0044-03-15 00:00:00+00 BC"}}',
    TIMESTAMPTZS,
    [[EIGHT], [at('-000043-03-15T00:00:00Z')]],
  ],
  ['box', '{(1,1),(0,0);(2,2),(1,1)}', BOXES, ['(1,1),(0,0)', '(2,2),(1,1)']],
  [
    'box in dimensions, with NULL',
    '{{(1,1),(0,0);NULL};{NULL;NULL}}',
    BOXES,
    [
      ['(1,1),(0,0)', null],
      [null, null],
    ],
  ],
  [
    'text',
    '{"",a,"NULL"," b","c,d","{e}","\\"f\\"","g\\\\h",nil}',
    TEXTS,
    ['', 'a', 'NULL', ' b', 'c,d', '{e}', '"f"', 'g\\h', 'nil'],
  ],
  ['lines', '{"a\nb","\u2028"}', TEXTS, ['a\nb', '\u2028']],
  ['nothing', '{}', TEXTS, []],
  ['six dimensions', '{{{{{{1}}}}}}', INT4S, [[[[[[1]]]]]]],
  ['bounds of dimensions', '[-2:-1][5:5]={{1},{2}}', INT4S, [[1], [2]]],
])

const NO_DATE =
  'the server sent a date that cannot be read: DateStyle must be ISO, and dates after the year 275760 or before 271821 BC must be selected as text (`::text`)'
const NO_ARRAY = 'the server sent an array that cannot be read'
const NO_BYTES = 'the server sent bytea in neither of the forms hex and escape'

refused('what cannot be read is an error and never another value', [
  ['DateStyle German, which was 2 January', '01.02.2020', OID.date, NO_DATE],
  ['DateStyle SQL', '02/01/2020 00:00:00 UTC', OID.timestamptz, NO_DATE],
  ['DateStyle Postgres', 'Sat Feb 01 00:00:00 2020 UTC', OID.timestamptz, NO_DATE],
  ['DateStyle Postgres, DMY', '01-02-2020', OID.date, NO_DATE],
  ['a date past those of JavaScript', '5874897-12-31', OID.date, NO_DATE],
  ['a timestamp past those of JavaScript', '294276-12-31 23:59:59.999999+00', OID.timestamptz, NO_DATE],
  ['in an array', '{2020-01-01,01.02.2020}', DATES, NO_DATE],
  ['no boolean', 'true', OID.bool, 'the server sent a boolean that is neither t nor f'],
  ['no number', 'hunter2', OID.int4, 'the server sent a number that cannot be read'],
  ['nothing for a number', '', OID.int4, 'the server sent a number that cannot be read'],
  ['no JSON', 'hunter2', OID.jsonb, 'the server sent JSON that cannot be parsed'],
  ['no JSON in an array', '{hunter2}', JSONBS, 'the server sent JSON that cannot be parsed'],
  ['half a byte', '\\x0', OID.bytea, NO_BYTES],
  ['no hexadecimal digits', '\\x0g00', OID.bytea, NO_BYTES],
  ['a backslash alone', 'a\\', OID.bytea, NO_BYTES],
  ['an octal number past a byte', '\\400', OID.bytea, NO_BYTES],
  ['a character that the escape format escapes', 'é', OID.bytea, NO_BYTES],
])

t.test('what is no text of an array is an error', async (t) => {
  const texts = [
    '',
    'a',
    'ab',
    '{',
    '}',
    '{a',
    'a}',
    '{a}}',
    '{{a}',
    '{a}b',
    '{a,}',
    '{,a}',
    '{,}',
    '{a,,b}',
    '{"a}',
    '{"a\\',
    '{"a"b}',
    '{a"b"}',
    '{a{b}}',
    '{a\\b}',
    '{{}}',
    '{{a}{b}}',
    '{{a},}',
    '{}}',
    '{}{}',
    ' {a}',
    '[0:1]{a}',
    '[0:1]=',
    '[a:b]={a}',
    '={a}',
    '{a;b}}',
  ]
  for (const text of texts) t.equal(refusal(text, TEXTS), NO_ARRAY, text)
})

t.test('a decoder gives a value or throws DecodeError, and comes to an end, whatever the text', async (t) => {
  const types = fc.constantFrom(...Object.values(OID).filter((type) => decoderOf(type)), ...ARRAYS.keys())
  const piece = fc.constantFrom(
    '{',
    '}',
    '"',
    '\\',
    ',',
    ';',
    'NULL',
    '[0:1]=',
    '1',
    '-',
    ' BC',
    '2020-01-01',
    'x',
    '\\x',
  )
  await holds(
    t,
    fc.property(fc.oneof(fc.string(), fc.string({ unit: piece, maxLength: 30 })), types, (text, type) => {
      try {
        read(text, type)
      } catch (error) {
        return error instanceof DecodeError
      }
      return true
    }),
    { numRuns: 5_000 },
  )
})

t.test('a long array takes time by its length, quotes and backslashes or not', async (t) => {
  // A search for the next backslash at each item would read some 10^12 characters.
  const items = new Array(400_000).fill('a long item with blanks')
  t.ok(isDeepStrictEqual(read(`{"${items.join('","')}"}`, TEXTS), items))
  const deep = 100_000
  t.equal(refusal('{'.repeat(deep), TEXTS), NO_ARRAY)
})

t.test('a long text in an array, and long bytes, are read as short ones', async (t) => {
  const long = 'x"\\'.repeat(1_000_000)
  t.ok(isDeepStrictEqual(read(`{"${long.replace(/["\\]/g, '\\$&')}"}`, TEXTS), [long]))
  const bytes = Buffer.from('61ff'.repeat(1_000_000), 'hex')
  t.ok(isDeepStrictEqual(read('a\\377'.repeat(1_000_000), OID.bytea), bytes))
})
