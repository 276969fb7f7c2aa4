import t, { type Test } from 'tap'
import { openConnection } from '../../src/pool/open-connection.ts'
import { ident, type Statement, sql } from '../../src/pool/statement.ts'
import { statementText } from '../../src/pool/statement-text.ts'
import { testDatabase } from '../support/database.ts'
import { like, throwsLike } from '../support/like.ts'
import { targetOf } from '../support/target.ts'

async function open(t: Test) {
  const { url } = await testDatabase(t)
  const connection = await openConnection(targetOf(url), new AbortController().signal)
  t.teardown(() => connection.close())
  const read = async (statement: Statement) => {
    const [row] = await connection.run(statement).result
    return row
  }
  return { read }
}

t.test('fragments are spliced in with their values in order, however deep', async (t) => {
  const { read } = await open(t)
  const inner = (value: string) => sql`${value}::text || '!'`
  const both = sql`${inner('b')} || ${'c'}::text`
  like(t, await read(sql`select ${'a'}::text as a, ${both} as bc, ${'d'}::text as d, ${inner('e')} as e`), {
    a: 'a',
    bc: 'b!c',
    d: 'd',
    e: 'e!',
  })
})

t.test('one template with fragments in other places is another statement', async (t) => {
  const { read } = await open(t)
  const pair = (first: Statement | string, second: Statement | string) =>
    sql`select ${first} as first, ${second} as second`
  const now = sql`'fragment'::text`
  const other = sql`'other'::text`
  for (let round = 0; round < 2; round++) {
    like(t, await read(pair(now, 'value')), { first: 'fragment', second: 'value' })
    like(t, await read(pair('value', now)), { first: 'value', second: 'fragment' })
    like(t, await read(pair(other, 'value')), { first: 'other', second: 'value' })
    like(t, await read(pair(now, now)), { first: 'fragment', second: 'fragment' })
  }
})

t.test('a fragment with a name in it is quoted by the driver', async (t) => {
  const { read } = await open(t)
  const column = sql`${'x'}::text as ${ident('a "quoted" name')}`
  like(t, await read(sql`select ${column}`), { 'a "quoted" name': 'x' })
})

t.test('a statement is prepared once on a connection, whatever its values', async (t) => {
  const { read } = await open(t)
  const filter = (id: number) => sql`id = ${id}`
  const find = (id: number) =>
    sql`select ${id}::integer as id from (values (1), (2)) t (id) where ${filter(id)}`
  for (const id of [1, 2, 1]) like(t, await read(find(id)), { id })
  const prepared = await read(
    sql`select count(*)::integer as count from pg_prepared_statements where statement like '%values (1), (2)%'
      and statement not like '%pg_prepared%'`,
  )
  like(t, prepared, { count: 1 })
})

/** A template that no source text could hold. */
function template(...parts: readonly string[]): TemplateStringsArray {
  return Object.assign([...parts], { raw: parts }) as unknown as TemplateStringsArray
}

t.test('a text that the server would read as another one is refused', async (t) => {
  const expected = {
    name: 'TypeError',
    message: 'The text of a statement must be well-formed and without NUL.',
  }
  for (const part of ['a\0b', '\0', '\ud800', 'a\udc00b']) {
    throwsLike(t, () => statementText(sql(template(`select '${part}'`))), expected, JSON.stringify(part))
    throwsLike(
      t,
      () => statementText(sql(template('select ', ` as "${part}"`), 1)),
      expected,
      JSON.stringify(part),
    )
    throwsLike(
      t,
      () => statementText(sql`select ${sql(template(`'${part}'`))}`),
      expected,
      JSON.stringify(part),
    )
    throwsLike(t, () => statementText(sql(template('select ', ` '${part}'`), ident('a'))), expected)
  }
  t.equal(statementText(sql(template("select '\ud83d\ude00'"))).text, "select '\ud83d\ude00'")
})

t.test('a name is quoted as it is, or refused', async (t) => {
  const expected = {
    name: 'TypeError',
    message: 'An identifier must have 1 to 63 bytes of well-formed text without NUL between its dots.',
  }
  const longest = 'x'.repeat(63)
  for (const [name, quoted] of [
    ['a', '"a"'],
    ['a.b', '"a"."b"'],
    ['A "b"', '"A ""b"""'],
    ['"', '""""'],
    ['"; drop table a; --', '"""; drop table a; --"'],
    [longest, `"${longest}"`],
    [`${longest}.${longest}`, `"${longest}"."${longest}"`],
    ['\u00e9'.repeat(31), `"${'\u00e9'.repeat(31)}"`],
  ] as const) {
    t.equal(statementText(sql`select ${ident(name)}`).text, `select ${quoted}`)
  }
  for (const name of [
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    `${longest}x`,
    `a.${longest}x`,
    '\u00e9'.repeat(32),
    'a\0b',
    '\ud800',
    'a.\udc00',
  ]) {
    throwsLike(t, () => statementText(sql`select ${ident(name)}`), expected, JSON.stringify(name))
    throwsLike(
      t,
      () => statementText(sql`select ${sql`1 as ${ident(name)}`}`),
      expected,
      JSON.stringify(name),
    )
  }
})

t.test('one template with other names is another text, and names take no number', async (t) => {
  const read = (column: string, value: string) =>
    statementText(sql`select ${ident(column)} from a where b = ${value} and ${sql`c = ${value}`}`)
  for (const column of ['x', 'y', 'x']) {
    const { text, values } = read(column, column)
    t.strictSame([text, values], [`select "${column}" from a where b = $1 and c = $2`, [column, column]])
  }
})
