import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import postgres from 'postgres'
import t from 'tap'
import { DecodeError, decoderOf } from '../../../src/pool/driver/decode.ts'
import { encode, ParameterError } from '../../../src/pool/driver/encode.ts'
import { ARRAYS, OID } from '../../../src/pool/driver/oids.ts'
import { testDatabase } from '../../support/database.ts'
import { holds } from '../../support/holds.ts'
import { withAdmin } from '../../support/template.ts'

const { url } = await testDatabase(t)

/** CatalogType is a type of PostgreSQL's own, with the array type of it. */
interface CatalogType {
  readonly oid: number
  readonly name: string
  readonly kind: string
  readonly delimiter: string
  readonly array: number
}

const catalog = await withAdmin(
  url,
  (admin) => admin<CatalogType[]>`
    select oid::integer, format('pg_catalog.%I', typname) as name, typtype::text as kind,
      typdelim::text as delimiter, typarray::integer as array
    from pg_type where typnamespace = 'pg_catalog'::regnamespace and typrelid = 0`,
)
const typeOf = new Map(catalog.map((type) => [type.oid, type]))
/** A connection on which every value goes and comes as its text. */
const client = postgres(url, {
  max: 1,
  fetch_types: false,
  onnotice: () => {},
  connection: { TimeZone: 'UTC' },
  types: {
    text: {
      to: OID.text,
      from: catalog.map(({ oid }) => oid),
      serialize: (text: string) => text,
      parse: (text: string) => text,
    },
  },
})
t.teardown(() => client.end())

type Text = string | null
type Row = Readonly<Record<string, Text>>

async function select(text: string, parameters: readonly Text[]): Promise<Row> {
  const [row] = await client.unsafe<Row[]>(`select ${text}`, [...parameters])
  if (row === undefined) throw new Error('no row')
  return row
}

function nameOf(type: number): string {
  const found = typeOf.get(type)
  if (found === undefined) throw new Error(`the server has no type ${type}`)
  return found.name
}

function bareName(type: number): string {
  return nameOf(type).replaceAll(/^pg_catalog\.|"/g, '')
}

function send(value: unknown, type: number): Text {
  return encode(value, type, '$1')
}

function receive(text: Text | undefined, type: number): unknown {
  if (text === undefined) throw new Error('no column')
  return text === null ? null : (decoderOf(type)?.(text) ?? text)
}

/** allThere sends values as parameters of a type and selects them, all in one statement. */
async function allThere(values: readonly unknown[], type: number): Promise<readonly unknown[]> {
  const columns = values.map((_, i) => `$${i + 1}::${nameOf(type)} as "${i}"`)
  const row = await select(
    columns.join(', '),
    values.map((value) => send(value, type)),
  )
  return values.map((_, i) => receive(row[i], type))
}

async function there(value: unknown, type: number): Promise<unknown> {
  const [back] = await allThere([value], type)
  return back
}

/**
 * constructed is an array of SQL, made of its items one by one: array[[$2, $3], [$4, null]]. What the server makes
 * of it does not depend on our array literals.
 */
function constructed(items: readonly unknown[], item: number, into: Text[]): string {
  const parts = items.map((each) => {
    if (Array.isArray(each)) return constructed(each, item, into)
    into.push(send(each, item))
    return `$${into.length}::${nameOf(item)}`
  })
  return `array[${parts.join(', ')}]`
}

/** arrayThere is {@link there} for an array, and checks that the server has the array that its items make. */
async function arrayThere(items: readonly unknown[], array: number): Promise<unknown> {
  const item = itemOf(array)
  const parameters: Text[] = [send(items, array)]
  const name = nameOf(array)
  const sql = `$1::${name} as value, $1::${name}::text = ${constructed(items, item, parameters)}::${name}::text as same`
  const { value, same } = await select(sql, parameters)
  if (same !== 't') throw new Error('the server has another array')
  return receive(value, array)
}

function itemOf(array: number): number {
  const kind = ARRAYS.get(array)
  if (kind === undefined) throw new Error(`${array} is no array`)
  return kind.item
}

/** Types without an array that can be told from others, or read and written; their arrays stay text. */
const WITHOUT_ARRAYS = new Set(['pg_catalog.record', 'pg_catalog.cstring'])

t.test(
  "every array of the server's own types is known, with its items and what stands between them",
  async (t) => {
    const wanted = catalog
      .filter(({ array, name }) => array !== 0 && !WITHOUT_ARRAYS.has(name))
      .map(({ oid, array, delimiter }) => ({ array, item: oid, delimiter }))
    const known = [...ARRAYS].map(([array, { item, delimiter }]) => ({ array, item, delimiter }))
    const byArray = (a: { array: number }, b: { array: number }) => a.array - b.array
    t.ok(wanted.length > 70)
    t.strictSame(known.sort(byArray), wanted.sort(byArray))
  },
)

t.test('the types that are read and written in their own form have the OIDs of the server', async (t) => {
  for (const [name, oid] of Object.entries(OID)) t.equal(bareName(oid), name)
})

/** Values of each type as text, with what its arrays must quote. */
const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  _jsonpath: ['$."a"[*]', '$.b'],
  aclitem: ['postgres=r/postgres', '=r/postgres'],
  bit: ['101', ''],
  bool: ['t', 'f'],
  box: ['(1,1),(0,0)', '(2.5,2),(-1,0)'],
  bpchar: ['a ', 'NULL'],
  bytea: ['a\\b', '"'],
  char: ['a', '{', '"'],
  cid: ['7'],
  cidr: ['10.0.0.0/8', '::/0'],
  circle: ['<(1,2),3>'],
  date: ['2026-11-28', '0044-03-15 BC', 'infinity'],
  datemultirange: ['{[2026-01-01,2026-02-01),[2027-01-01,)}', '{}'],
  daterange: ['[2026-01-01,2026-02-01)', 'empty'],
  float4: ['1.5', 'NaN'],
  float8: ['0.1', '-Infinity'],
  inet: ['10.0.0.1', '::1/64'],
  int2: ['-32768'],
  int2vector: ['1 2', ''],
  int4: ['-2147483648', '0'],
  int4multirange: ['{[1,2),[5,7)}'],
  int4range: ['[1,10)', '(,5)', 'empty'],
  int8: ['9223372036854775807'],
  int8multirange: ['{[1,2)}'],
  int8range: ['[1,)'],
  interval: ['1 mon -2 days +03:04:05.678', '-1 years'],
  json: ['a"b\\c', ''],
  jsonb: ['{"a": 1}', 'null'],
  jsonpath: ['$."a"[*]'],
  line: ['{1,2,3}'],
  lseg: ['[(1,2),(3,4)]'],
  macaddr: ['08:00:2b:01:02:03'],
  macaddr8: ['08:00:2b:01:02:03:04:05'],
  money: ['1.00', '-1000.00'],
  name: ['a', 'NULL', 'x y'],
  numeric: ['1.10', 'NaN', '123456789012345678901234567890.5'],
  nummultirange: ['{[1.5,2.5)}'],
  numrange: ['[1.5,)'],
  oid: ['4294967295'],
  oidvector: ['1 4294967295'],
  path: ['((1,2),(3,4))', '[(1,2)]'],
  pg_lsn: ['16/B374D848'],
  pg_snapshot: ['10:20:10,14,15'],
  point: ['(1,2)'],
  polygon: ['((1,2),(3,4),(5,6))'],
  refcursor: ['c', 'a b'],
  regclass: ['pg_class'],
  regcollation: ['"C"'],
  regconfig: ['english'],
  regdictionary: ['simple'],
  regnamespace: ['pg_catalog'],
  regoper: ['||/'],
  regoperator: ['+(integer,integer)'],
  regproc: ['now'],
  regprocedure: ['now()', 'length(text)'],
  regrole: ['postgres'],
  regtype: ['integer', 'character varying'],
  text: ['', 'NULL', 'null', ' a ', 'a,b;c', '{}', '"', '\\', '\\"', "'", '\n', 'é😀'],
  tid: ['(0,1)'],
  time: ['12:00:00.000001', '24:00:00'],
  timestamp: ['2026-11-28 12:00:00.123', '-infinity'],
  timestamptz: ['2026-11-28 12:00:00.123+00', '0044-03-15 12:00:00+00 BC'],
  timetz: ['12:00:00+05:30'],
  tsmultirange: ['{["2026-01-01 00:00:00","2026-01-02 00:00:00")}'],
  tsquery: ["'a' & !'b c'"],
  tsrange: ['["2026-01-01 00:00:00","2026-01-02 00:00:00")'],
  tstzmultirange: ['{["2026-01-01 00:00:00+00",)}'],
  tstzrange: ['["2026-01-01 00:00:00+00",)'],
  tsvector: ["'a':1 'b c':2A"],
  txid_snapshot: ['10:20:10'],
  uuid: ['c0ffee00-0b0a-4908-8706-050403020100'],
  varbit: ['10101', ''],
  varchar: ['NULL', '', 'a"b'],
  xid: ['4294967295'],
  xid8: ['18446744073709551615'],
  xml: ['<a b="c"/>'],
}

/** The only type that no text can be read into. */
const WRITE_ONLY = 'pg_catalog.gtsvector'

for (const [array, { item }] of ARRAYS) {
  const name = nameOf(item)
  if (name === WRITE_ONLY) continue
  t.test(`arrays of ${name} go to the server and come back, item by item`, async (t) => {
    const samples = SAMPLES[bareName(item)]
    if (samples === undefined) throw new Error(`add texts of ${name} to SAMPLES`)
    const scalars = await allThere(samples, item)
    t.strictSame(await arrayThere([null, ...samples], array), [null, ...scalars])
    const [[sample], [scalar]] = [samples, scalars]
    t.strictSame(
      await arrayThere(
        [
          [sample, null],
          [null, sample],
        ],
        array,
      ),
      [
        [scalar, null],
        [null, scalar],
      ],
    )
    t.strictSame(await arrayThere([], array), [])
    const shifted = `[-1:0]=${send([sample, null], array)}`
    t.strictSame(await there(shifted, array), [scalar, null], 'whatever its first index')
  })
}

/** Kind is a type with values of JavaScript for it, and how they come back. */
interface Kind {
  readonly array: number
  readonly values: fc.Arbitrary<unknown>
  readonly expected?: (value: unknown) => unknown
  /** What is made of a value that came back before it is compared. */
  readonly received?: (value: unknown) => unknown
}

const storable = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0'))
/** From the first day of PostgreSQL, 4713 BC, to the last of JavaScript. */
const dates = fc.oneof(
  fc.date({ min: new Date('-004712-01-01T00:00:00Z'), max: new Date(8.64e15), noInvalidDate: true }),
  fc.date({ min: new Date('-000100-01-01T00:00:00Z'), max: new Date('0200-01-01'), noInvalidDate: true }),
  fc.constantFrom(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
)
const json = fc
  .jsonValue({ stringUnit: 'binary' })
  .filter((value) => value !== null && !Array.isArray(value) && !JSON.stringify(value).includes('\\u0000'))

function day(value: unknown): unknown {
  return value instanceof Date ? new Date(Math.floor(value.getTime() / 86_400_000) * 86_400_000) : value
}

const KINDS: readonly Kind[] = [
  { array: 1000, values: fc.boolean() },
  { array: 1001, values: fc.uint8Array().map((bytes) => Buffer.from(bytes)) },
  { array: 1005, values: fc.integer({ min: -32_768, max: 32_767 }) },
  { array: 1007, values: fc.integer() },
  { array: 1016, values: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), expected: String },
  { array: 1016, values: fc.maxSafeInteger(), expected: (value) => `${Number(value) + 0}` },
  // The shortest text that is the same float4 is another float8.
  { array: 1021, values: fc.float(), received: (value) => Math.fround(Number(value)) },
  { array: 1022, values: fc.double() },
  { array: 1231, values: fc.bigInt(), expected: String },
  { array: 1009, values: storable },
  { array: 1015, values: storable },
  { array: 1014, values: storable },
  { array: 2951, values: fc.uuid() },
  { array: 199, values: json, expected: (value) => JSON.parse(JSON.stringify(value)) },
  { array: 3807, values: json, expected: (value) => JSON.parse(JSON.stringify(value)) },
  { array: 1182, values: dates, expected: day },
  { array: 1115, values: dates },
  { array: 1185, values: dates },
]

/** arrays are those that PostgreSQL has: empty, or of up to three dimensions of equal lengths. */
function arrays(values: fc.Arbitrary<unknown>): fc.Arbitrary<readonly unknown[]> {
  const item = fc.option(values, { freq: 5 })
  const within = (inner: fc.Arbitrary<unknown>, minLength: number) =>
    fc
      .integer({ min: minLength, max: 4 })
      .chain((length) => fc.array(inner, { minLength: length, maxLength: length }))
  const nested = (lengths: readonly number[]): fc.Arbitrary<unknown> => {
    const [length, ...rest] = lengths
    return length === undefined ? item : fc.array(nested(rest), { minLength: length, maxLength: length })
  }
  const lengths = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 2, maxLength: 3 })
  return fc.oneof(
    within(item, 0),
    lengths.chain((each) => nested(each) as fc.Arbitrary<unknown[]>),
  )
}

function map(value: unknown, change: (value: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => map(each, change))
  return value === null ? null : change(value)
}

/** Each run is a statement or two. */
const RUNS = { numRuns: 40 }

/** several are some values for one statement. */
function several(values: fc.Arbitrary<unknown>): fc.Arbitrary<readonly unknown[]> {
  return fc.array(values, { minLength: 1, maxLength: 8 })
}

function same(value: unknown): unknown {
  return value
}

for (const [i, { array, values, expected = same, received = same }] of KINDS.entries()) {
  const item = itemOf(array)
  t.test(`${i}: any value of ${nameOf(item)} comes back, by itself and in arrays`, async (t) => {
    await holds(
      t,
      fc.asyncProperty(several(values), async (each) =>
        isDeepStrictEqual(map(await allThere(each, item), received), map(each, expected)),
      ),
      RUNS,
    )
    await holds(
      t,
      fc.asyncProperty(arrays(values), async (items) =>
        isDeepStrictEqual(map(await arrayThere(items, array), received), map(items, expected)),
      ),
      RUNS,
    )
  })
}

async function withSetting(name: string, value: string, fn: () => Promise<void>): Promise<void> {
  await client.unsafe(`set ${name} = '${value}'`)
  try {
    await fn()
  } finally {
    await client.unsafe(`reset ${name}`)
  }
}

for (const zone of ['Europe/Amsterdam', 'America/St_Johns', 'Asia/Kathmandu']) {
  t.test(`moments come back in a session of time zone ${zone}, those of old times too`, async (t) => {
    await withSetting('TimeZone', zone, () =>
      holds(
        t,
        fc.asyncProperty(several(dates), async (each) =>
          isDeepStrictEqual(await allThere(each, OID.timestamptz), each),
        ),
        RUNS,
      ),
    )
  })
}

for (const style of [
  'SQL, DMY',
  'SQL, MDY',
  'Postgres, DMY',
  'Postgres, MDY',
  'German',
  'ISO, DMY',
  'ISO, YMD',
]) {
  t.test(
    `a Date is the same moment in a session of DateStyle ${style}, which is read or refused`,
    async (t) => {
      const finite = dates.filter((date) => date instanceof Date)
      const types = [OID.date, OID.timestamp, OID.timestamptz]
      await withSetting('DateStyle', style, () =>
        holds(
          t,
          fc.asyncProperty(finite, fc.constantFrom(...types), async (date, type) => {
            const value = type === OID.date ? day(date) : date
            const sql = `extract(epoch from $1::${nameOf(type)}) * 1000 = $2::numeric as same, $1::${nameOf(type)} as value`
            const { same, value: text } = await select(sql, [send(date, type), String(Number(value))])
            if (same !== 't') return false
            if (style.startsWith('ISO')) return isDeepStrictEqual(receive(text, type), value)
            try {
              receive(text, type)
            } catch (error) {
              return error instanceof DecodeError
            }
            return false
          }),
          RUNS,
        ),
      )
    },
  )
}

t.test('bytes come back from a session that writes them in the escape format', async (t) => {
  const bytes = fc.uint8Array().map((each) => Buffer.from(each))
  await withSetting('bytea_output', 'escape', async () => {
    await holds(
      t,
      fc.asyncProperty(arrays(bytes), async (items) =>
        isDeepStrictEqual(await arrayThere(items, 1001), items),
      ),
      RUNS,
    )
    await holds(
      t,
      fc.asyncProperty(several(bytes), async (each) =>
        isDeepStrictEqual(await allThere(each, OID.bytea), each),
      ),
      RUNS,
    )
  })
})

t.test('arrays whose types have no OID of their own come as text', async (t) => {
  await client.unsafe(`create type mood as enum ('happy', 'sad')`)
  const { value } = await select('$1::text[]::mood[] as value', [send(['sad', null], 1009)])
  t.equal(value, '{sad,NULL}')
  const { records } = await select(`array_agg(row (1, 'a')) as records`, [])
  t.equal(receive(records, 2287), '{"(1,a)"}')
})

t.test(
  'whatever is encoded, the server takes it or says what is wrong, and the next one gets its own answer',
  async (t) => {
    const types = [...new Set([...Object.values(OID), ...ARRAYS.keys()])]
    const anything = fc.anything({
      maxDepth: 2,
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
      values: [fc.boolean(), fc.integer(), fc.double(), fc.constant(null), fc.string({ unit: 'binary' })],
    })
    let nonce = 0
    await holds(
      t,
      fc.asyncProperty(anything, fc.constantFrom(...types), async (value, type) => {
        let text: Text
        try {
          text = send(value, type)
        } catch (error) {
          return error instanceof ParameterError
        }
        const outcome = select(`$1::${nameOf(type)} is null as nothing`, [text]).catch(
          (error: unknown) => error,
        )
        const next = await select('$1::text as nonce', [String(++nonce)])
        if (next.nonce !== String(nonce)) return false
        const first = await outcome
        // Classes of SQLSTATE (manual, "PostgreSQL Error Codes"): data, syntax and names, not supported, limits.
        if (first instanceof postgres.PostgresError) return /^(?:0A|22|42|3F|54)/.test(first.code)
        return isDeepStrictEqual(first, { nothing: text === null ? 't' : 'f' })
      }),
      { numRuns: 300 },
    )
  },
)
