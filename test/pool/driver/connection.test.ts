import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { Running } from '../../../src/pool/contract.ts'
import type { DriverConnection } from '../../../src/pool/driver/connection.ts'
import { errorCode } from '../../../src/pool/driver-errors.ts'
import { openConnection } from '../../../src/pool/open-connection.ts'
import { type Statement, sql } from '../../../src/pool/statement.ts'
import { testDatabase } from '../../support/database.ts'
import { like, rejectsLike } from '../../support/like.ts'
import { held } from '../../support/memory.ts'
import { targetOf } from '../../support/target.ts'

const never = new AbortController().signal
const TENANT = '0f0e0d0c-0b0a-4908-8706-050403020100'

async function setUp(t: Test, maxResultBytes?: number) {
  const { url } = await testDatabase(t)
  const options = maxResultBytes === undefined ? {} : { maxResultBytes }
  const connection = await openConnection(targetOf(url), never, options)
  const admin = await openConnection(targetOf(url), never)
  t.teardown(async () => {
    connection.destroy()
    admin.destroy()
    await Promise.all([connection.lost, admin.lost])
  })
  return { url, connection, admin }
}

/** The rows without the driver's fields, or the error's code or message. */
async function outcome({ result }: Running): Promise<unknown> {
  return result.then(
    (rows) => [...rows],
    (error: unknown) => errorCode(error) ?? (error as Error).message.replace(/;.*/s, ''),
  )
}

/** What has a place of its own in the answers. */
function nonce(n: number): Statement {
  return sql`select ${n}::integer as n, ${`text ${n}`}::text as text`
}

const answerOf = (n: number) => [{ n, text: `text ${n}` }]

/** What cannot be sent, and what its caller is told. */
const BAD: readonly (readonly [what: string, value: unknown, cast: string, message: RegExp])[] = [
  ['an invalid Date', new Date(Number.NaN), 'timestamptz', /^parameter \$1 /],
  ['undefined', undefined, 'text', /^parameter \$1 /],
  ['a BigInt in JSON', { a: 1n }, 'jsonb', /^parameter \$1 /],
  ['a symbol', Symbol('a'), 'text', /^parameter \$1 /],
  ['a NUL', 'a\0b', 'text', /^parameter \$1 /],
  ['half a character', '\ud800', 'text', /^parameter \$1 /],
  ['an object for a text', { a: 1 }, 'text', /^parameter \$1 /],
  ['a list for a text', ['a'], 'text', /^parameter \$1 /],
  [
    'a getter that throws',
    Object.defineProperty({}, 'a', { enumerable: true, get: thrower }),
    'jsonb',
    /^parameter \$1 /,
  ],
  ['a toJSON that throws', { toJSON: thrower }, 'jsonb', /^parameter \$1 /],
]

function thrower(): never {
  throw new Error('thrown by the value')
}

function cast(value: unknown, type: string): Statement {
  const strings = [`select $1::${type} as bad`.replace('$1', ''), '']
  const [before = '', after = ''] = [`select `, `::${type} as bad`]
  strings.splice(0, 2, before, after)
  const template = Object.assign(strings, { raw: strings })
  return sql(template as unknown as TemplateStringsArray, value as string)
}

for (const binding of [undefined, TENANT]) {
  const how = binding === undefined ? 'by themselves' : 'bound to a tenant'
  t.test(`a parameter that cannot be sent costs its statement alone, ${how}`, async (t) => {
    const { connection } = await setUp(t)
    for (const [what, value, type, message] of BAD) {
      const good = Array.from({ length: 8 }, (_, i) => connection.run(nonce(i), binding))
      const bad = connection.run(cast(value, type), binding)
      const more = Array.from({ length: 8 }, (_, i) => connection.run(nonce(100 + i), binding))
      const error: unknown = await bad.result.catch((reason) => reason)
      t.ok(error instanceof TypeError, what)
      like(t, (error as Error).message, message, what)
      t.strictSame(
        await Promise.all(good.map(outcome)),
        Array.from({ length: 8 }, (_, i) => answerOf(i)),
        what,
      )
      t.strictSame(
        await Promise.all(more.map(outcome)),
        Array.from({ length: 8 }, (_, i) => answerOf(100 + i)),
        what,
      )
    }
    const many = Array.from({ length: 65_534 }, (_, i) => i)
    const strings = ['select ', ...many.slice(1).map(() => ','), '']
    const tooMany = sql(Object.assign(strings, { raw: strings }) as unknown as TemplateStringsArray, ...many)
    const [refused, next] = [connection.run(tooMany, binding), connection.run(nonce(1), binding)]
    await rejectsLike(t, refused.result, { name: 'ParameterError' })
    t.strictSame(await outcome(next), answerOf(1))
    t.ok(connection.isUsable)
  })
}

t.test(
  'a failure before the statement runs, in it, or behind some of its rows is answered to it alone',
  async (t) => {
    const { connection } = await setUp(t)
    const runs = [
      connection.run(nonce(1)),
      connection.run(sql`selec 1`),
      connection.run(nonce(2)),
      connection.run(sql`select ${'x'}::integer`),
      connection.run(nonce(3)),
      connection.run(sql`select 1 / (5 - i) as i from generate_series(1, 9) i`),
      connection.run(nonce(4)),
      connection.run(sql`select 1 as a; select 2 as b`),
      connection.run(nonce(5)),
      connection.run(sql``),
      connection.run(nonce(6)),
    ]
    t.strictSame(await Promise.all(runs.map(outcome)), [
      answerOf(1),
      '42601',
      answerOf(2),
      '22P02',
      answerOf(3),
      '22012',
      answerOf(4),
      '42601',
      answerOf(5),
      [],
      answerOf(6),
    ])
  },
)

for (const [what, ddl] of [
  ['a column of another type', 'alter table things alter column a type text'],
  ['another column', 'alter table things add column b integer default 2'],
] as const) {
  t.test(
    `a statement whose plan is stale since there is ${what} is answered with what is there now`,
    async (t) => {
      const { connection, admin } = await setUp(t)
      await admin.script('create table things (a integer); insert into things values (7)')
      const read = sql`select *, ${'x'}::text as x from things`
      for (let i = 0; i < 3; i++) t.strictSame(await outcome(connection.run(read)), [{ a: 7, x: 'x' }])
      await admin.script(ddl)
      const runs = [
        connection.run(nonce(1)),
        connection.run(read),
        connection.run(nonce(2)),
        connection.run(read, TENANT),
      ]
      const now = what === 'another column' ? [{ a: 7, b: 2, x: 'x' }] : [{ a: '7', x: 'x' }]
      t.strictSame(await Promise.all(runs.map(outcome)), [answerOf(1), now, answerOf(2), now])
      t.ok(connection.isUsable)
    },
  )
}

t.test('a parameter goes by the type that its column has now', async (t) => {
  const { connection, admin } = await setUp(t)
  await admin.script(`create table things (a integer); insert into things values (1)`)
  const find = sql`select 1 as one from things where a = ${'1'}`
  for (let i = 0; i < 2; i++) t.strictSame(await outcome(connection.run(find)), [{ one: 1 }])
  await admin.script('alter table things alter column a type text')
  for (let i = 0; i < 2; i++) t.strictSame(await outcome(connection.run(find)), [{ one: 1 }])
  await admin.script('alter table things alter column a type integer using a::integer')
  await connection.command('begin').result
  t.equal(await outcome(connection.run(find)), '42883')
  await connection.command('rollback').result
  t.strictSame(await outcome(connection.run(find)), [{ one: 1 }], 'the transaction can be tried again')
  await admin.script('drop table things')
  for (let i = 0; i < 2; i++) t.equal(await outcome(connection.run(find)), '42P01')
})

t.test('a statement that is no longer prepared is prepared again, beside all others', async (t) => {
  const { connection } = await setUp(t)
  for (const binding of [undefined, TENANT]) {
    const before = Array.from({ length: 4 }, (_, i) => connection.run(nonce(i), binding))
    const forget = connection.run(sql`deallocate all`)
    const after = Array.from({ length: 8 }, (_, i) => connection.run(nonce(i), binding))
    await forget.result
    const expected = (count: number) => Array.from({ length: count }, (_, i) => answerOf(i))
    t.strictSame(await Promise.all(before.map(outcome)), expected(4))
    t.strictSame(await Promise.all(after.map(outcome)), expected(8))
  }
  t.ok(connection.isUsable)
})

t.test('what a name stands for may change between two runs of one text', async (t) => {
  const { connection } = await setUp(t)
  const fetch = sql`fetch all from c`
  const execute = sql`execute p('seven')`
  for (const [query, prepared, expected] of [
    ['select 1 as one', 'select $1 as given', [[{ one: 1 }], [{ given: 'seven' }]]],
    [
      `select 'two' as two, 3 as three`,
      'select length($1) as length, 2 as two',
      [[{ two: 'two', three: 3 }], [{ length: 5, two: 2 }]],
    ],
  ] as const) {
    await connection.command('begin').result
    await connection.script(`declare c cursor for ${query}; prepare p(text) as ${prepared}`)
    const runs = [connection.run(fetch), connection.run(execute)]
    t.strictSame(await Promise.all(runs.map(outcome)), expected)
    await connection.command('commit').result
    await connection.script('deallocate p')
  }
})

t.test('parameters are written by the types that the statement has now', async (t) => {
  const list = [1, 2] as unknown as readonly string[]
  const { connection, admin } = await setUp(t)
  await admin.script(`
    create table things (a integer[]);
    create procedure note(inout a integer[]) language sql as 'select a';`)
  const add = sql`insert into things values (${list}) returning a`
  const call = sql`call note(${list})`
  for (let i = 0; i < 2; i++) {
    t.strictSame(await outcome(connection.run(add)), [{ a: [1, 2] }])
    t.strictSame(await outcome(connection.run(call)), [{ a: [1, 2] }])
  }
  await admin.script(`
    alter table things alter a type jsonb using '[1,2]';
    drop procedure note;
    create procedure note(inout a jsonb) language sql as 'select a';`)
  t.strictSame(await outcome(connection.run(add)), [{ a: [1, 2] }])
  t.strictSame(await outcome(connection.run(call)), [{ a: [1, 2] }])
})

t.test('a description that is refused is answered to its statement, once', async (t) => {
  const { connection } = await setUp(t)
  const runs = [
    connection.run(sql`selec ${1}`),
    connection.run(nonce(1)),
    connection.run(sql`select ${1} from nothing`, TENANT),
    connection.run(nonce(2), TENANT),
  ]
  t.strictSame(await Promise.all(runs.map(outcome)), ['42601', answerOf(1), '42P01', answerOf(2)])
})

t.test('in a transaction a stale plan fails the transaction, with an error that says so', async (t) => {
  const { connection, admin } = await setUp(t)
  await admin.script('create table things (a integer); insert into things values (7)')
  const read = sql`select * from things`
  for (let i = 0; i < 2; i++) t.strictSame(await outcome(connection.run(read)), [{ a: 7 }])
  await admin.script('alter table things add column b integer default 2')
  const runs = [
    connection.command('begin'),
    connection.run(read),
    connection.run(sql`select 1`),
    connection.command('commit'),
  ]
  const [begun, stale, failed] = await Promise.all(runs.slice(0, 3).map(outcome))
  t.strictSame([begun, stale, failed], [[], 'SCHEMA_CHANGED', '25P02'])
  t.equal((await runs[3]?.result)?.command, 'ROLLBACK')
  t.strictSame(await outcome(connection.run(read)), [{ a: 7, b: 2 }])
})

t.test(
  'what failed inside of a function when it ran is not sent again, though it looks like a stale plan',
  async (t) => {
    const { connection, admin } = await setUp(t)
    await admin.script(`
    create sequence runs;
    create function odd() returns integer language plpgsql as $$
      begin
        perform nextval('runs');
        execute 'execute nothing';
        return 1;
      end $$;`)
    const call = sql`select odd() as odd, ${1}::integer as one`
    for (let i = 0; i < 2; i++) t.equal(await outcome(connection.run(call)), '26000')
    t.strictSame(await outcome(connection.run(sql`select last_value::integer as runs from runs`)), [
      { runs: 2 },
    ])
  },
)

t.test('an answer that is too large is refused, and its neighbours and the connection live on', async (t) => {
  const { connection } = await setUp(t, 100_000)
  const runs = [
    connection.run(nonce(1)),
    connection.run(sql`select repeat('x', 30000000) as text`),
    connection.run(nonce(2)),
    connection.run(sql`select i, repeat('x', 100) as text from generate_series(1, 100000) i`),
    connection.run(nonce(3)),
    connection.run(sql`select from generate_series(1, 100000)`),
    connection.run(nonce(4), TENANT),
    connection.run(sql`select repeat('x', 100001) as text`, TENANT),
    connection.run(sql`select repeat('x', 90000) as text`),
  ]
  t.strictSame(await Promise.all(runs.slice(0, -1).map(outcome)), [
    answerOf(1),
    'RESULT_TOO_LARGE',
    answerOf(2),
    'RESULT_TOO_LARGE',
    answerOf(3),
    'RESULT_TOO_LARGE',
    answerOf(4),
    'RESULT_TOO_LARGE',
  ])
  t.strictSame(await outcome(runs.at(-1) as Running), [{ text: 'x'.repeat(90_000) }])
  t.ok(connection.isUsable)
})

t.test('an answer of 300 MB takes no more memory than its limit and what passes through', async (t) => {
  const { connection } = await setUp(t, 10_000_000)
  await outcome(connection.run(nonce(1)))
  const before = held()
  let samples = 0
  let peak = 0
  const timer = setInterval(() => {
    samples++
    peak = Math.max(peak, held() - before)
  }, 50)
  t.equal(await outcome(connection.run(sql`select repeat('x', 300000000) as text`)), 'RESULT_TOO_LARGE')
  t.equal(
    await outcome(connection.run(sql`select repeat('x', 1000) as text from generate_series(1, 300000)`)),
    'RESULT_TOO_LARGE',
  )
  clearInterval(timer)
  t.ok(samples > 0)
  t.ok(peak < 50_000_000, `${peak} bytes more than before`)
})

t.test('what JSON and arrays would become in memory counts as well', async (t) => {
  const { connection } = await setUp(t, 1_000_000)
  const runs = [
    connection.run(sql`select json_agg('{}'::json) as list from generate_series(1, 50000)`),
    connection.run(sql`select array_agg(array[i]) as list from generate_series(1, 50000) i`),
    connection.run(sql`select array_agg(i) as list from generate_series(1, 100000) i`),
    connection.run(nonce(1)),
    connection.run(sql`select array_agg(i) as list from generate_series(1, 3) i`),
    connection.run(sql`select jsonb_build_object('a', repeat('x', 500000)) -> 'a' as text`),
  ]
  t.strictSame(await Promise.all(runs.map(outcome)), [
    'RESULT_TOO_LARGE',
    'RESULT_TOO_LARGE',
    'RESULT_TOO_LARGE',
    answerOf(1),
    [{ list: [1, 2, 3] }],
    [{ text: 'x'.repeat(500_000) }],
  ])
})

t.test('while an answer that is refused still comes, its statement can be known and cancelled', async (t) => {
  const { connection } = await setUp(t, 100_000)
  const endless = connection.run(sql`select repeat('x', 10000) as text, generate_series(1, 100000000)`)
  const ended = outcome(endless)
  while (endless.refusal === undefined) await new Promise(setImmediate)
  t.equal(endless.refusal.code, 'RESULT_TOO_LARGE')
  await endless.cancel()
  t.equal(await ended, 'RESULT_TOO_LARGE')
  t.strictSame(await outcome(connection.run(nonce(1))), answerOf(1))
})

t.test(
  'a COPY that comes through all the same costs its connection, and who stands behind it is told',
  async (t) => {
    for (const copy of [sql`copy (select 1) to stdout`, sql`copy things from stdin`]) {
      const { connection, admin } = await setUp(t)
      await admin.script('create table things (a integer)')
      const runs = [connection.run(nonce(1)), connection.run(copy), connection.run(nonce(2))]
      const outcomes = await Promise.all(runs.map(outcome))
      t.strictSame(outcomes, [
        answerOf(1),
        'COPY to or from the client is not sent as a statement',
        'CONNECTION_CLOSED',
      ])
      await connection.lost
      t.notOk(connection.isUsable)
    }
  },
)

t.test('copy gives the lines that the server sends, and none to one that waits for rows', async (t) => {
  const { connection, admin } = await setUp(t)
  await admin.script('create table things (a integer)')
  t.strictSame(await outcome(connection.copy('copy (select generate_series(1, 3)) to stdout')), [
    { line: '1' },
    { line: '2' },
    { line: '3' },
  ])
  const from = await connection.copy('copy things from stdin').result
  t.strictSame([[...from], from.command], [[], 'COPY'])
  t.equal(await outcome(connection.copy('copy nothing from stdin')), '42P01')
  t.strictSame(await outcome(connection.run(sql`select from things`)), [])
})

t.test('a statement that begins or ends a transaction by itself costs its connection', async (t) => {
  for (const [before, odd] of [
    [[], sql`begin`],
    [['begin'], sql`commit`],
    [['begin'], sql`rollback`],
  ] as const) {
    const { connection } = await setUp(t)
    for (const each of before) await connection.command(each).result
    const runs = [connection.run(odd), connection.run(nonce(1))]
    t.strictSame(await Promise.all(runs.map(outcome)), [
      'The statement began or ended a transaction by itself',
      'CONNECTION_CLOSED',
    ])
    await connection.lost
  }
})

t.test('notices and notifications belong to no answer', async (t) => {
  const { url, connection } = await setUp(t)
  const heard: string[] = []
  const ear = await openConnection(targetOf(url), never, {
    onNotify: (channel, payload) => heard.push(`${channel}: ${payload}`),
  })
  await ear.run(sql`listen room`).result
  await connection.run(sql`listen room`).result
  await connection.script(
    `do $$ begin for i in 1..1000 loop raise notice '%', repeat('x', 10000); end loop; end $$`,
  )
  const runs = Array.from({ length: 8 }, (_, i) => connection.run(nonce(i)))
  const told = Array.from({ length: 8 }, (_, i) =>
    connection.run(sql`select pg_notify('room', ${`said ${i}`})`),
  )
  t.strictSame(
    await Promise.all(runs.map(outcome)),
    Array.from({ length: 8 }, (_, i) => answerOf(i)),
  )
  await Promise.all(told.map(({ result }) => result))
  const done = ear.run(sql`select 1 as one`)
  t.strictSame(await outcome(done), [{ one: 1 }])
  while (heard.length < 8) await new Promise(setImmediate)
  t.strictSame(
    heard,
    Array.from({ length: 8 }, (_, i) => `room: said ${i}`),
  )
  await ear.close()
})

t.test('wide rows, empty rows, rows of the same name and long errors', async (t) => {
  const { connection } = await setUp(t)
  const columns = Array.from({ length: 1600 }, (_, i) => `${i} as c${i}`).join()
  const wide = connection.run(statementOf(`select ${columns}`))
  const long = connection.run(sql`select ${'x'.repeat(2_000_000)}::integer`)
  const [row] = (await wide.result) as readonly Record<string, unknown>[]
  t.strictSame(row, Object.fromEntries(Array.from({ length: 1600 }, (_, i) => [`c${i}`, i])))
  const error = (await long.result.catch((reason: unknown) => reason)) as Error
  t.equal(errorCode(error), '22P02')
  t.ok(error.message.length < 70_000, `${error.message.length} characters of a message of two million`)
  t.strictSame(await outcome(connection.run(sql`select from generate_series(1, 3)`)), [{}, {}, {}])
  const [proto] = await connection.run(sql`select '{"a":1}'::jsonb as "__proto__", 1 as b`).result
  t.strictSame(Object.entries(proto ?? {}), [
    ['__proto__', { a: 1 }],
    ['b', 1],
  ])
  t.equal(Object.getPrototypeOf(proto), Object.prototype)
  t.strictSame(await outcome(connection.run(sql`select 1 as a, '2024-01-01'::date as a, 'x' as a`)), [
    { a: 'x' },
  ])
})

function statementOf(text: string): Statement {
  return sql(Object.assign([text], { raw: [text] }) as unknown as TemplateStringsArray)
}

t.test('no more than a thousand texts are prepared on a connection', async (t) => {
  const { connection } = await setUp(t)
  const texts = Array.from({ length: 1_100 }, (_, i) => statementOf(`select ${i} as i`))
  for (let round = 0; round < 2; round++) {
    const answers = await Promise.all(texts.map((text) => outcome(connection.run(text))))
    t.strictSame(
      answers,
      texts.map((_, i) => [{ i }]),
    )
  }
  const given = (n: number) => sql`select ${n}::integer as given`
  for (const n of [1, 2]) t.strictSame(await outcome(connection.run(given(n))), [{ given: n }])
  t.strictSame(
    await outcome(connection.run(sql`select count(*)::integer as count from pg_prepared_statements`)),
    [{ count: 1_000 }],
  )
})

t.test('a cancel before a statement is sent takes it back, and reaches no other', async (t) => {
  const { connection } = await setUp(t)
  const described = connection.run(nonce(1))
  const waiting = connection.run(nonce(2))
  await waiting.cancel()
  t.equal(await outcome(waiting), '57014')
  t.strictSame(await outcome(described), answerOf(1))
})

t.test('what was asked before a close is answered, and what comes after it is refused', async (t) => {
  const { connection } = await setUp(t)
  const before = Array.from({ length: 4 }, (_, i) => connection.run(nonce(i)))
  const closed = connection.close()
  t.equal(await outcome(connection.run(nonce(9))), 'CONNECTION_CLOSED')
  t.equal(await outcome(connection.command('begin')), 'CONNECTION_CLOSED')
  await rejectsLike(t, connection.script('select 1'), { code: 'CONNECTION_CLOSED' })
  t.strictSame(
    await Promise.all(before.map(outcome)),
    Array.from({ length: 4 }, (_, i) => answerOf(i)),
  )
  await closed
})

t.test('a session that is ended fails what is on it, and says why', async (t) => {
  const { connection, admin } = await setUp(t)
  const runs = [connection.run(sql`select pg_sleep(60)`), connection.run(nonce(1)), connection.run(nonce(2))]
  const outcomes = Promise.allSettled(runs.map(({ result }) => result))
  await ended(admin, connection.pid)
  for (const each of (await outcomes) as PromiseRejectedResult[]) {
    t.equal(errorCode(each.reason), 'CONNECTION_CLOSED')
    t.equal(errorCode((each.reason as Error).cause), '57P01')
  }
})

async function ended(admin: DriverConnection, pid: number): Promise<void> {
  while (
    (await admin.run(sql`select from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`).result)
      .length === 0
  );
  await admin.run(sql`select pg_terminate_backend(${pid}::integer)`).result
}

t.test('the environment of the process is no matter of a connection', async (t) => {
  const { url } = await testDatabase(t)
  const program = `
    import { openConnection } from '${new URL('../../../src/pool/open-connection.ts', import.meta.url)}'
    import { sql } from '${new URL('../../../src/pool/statement.ts', import.meta.url)}'
    import { targetOf } from '${new URL('../../support/target.ts', import.meta.url)}'
    const connection = await openConnection(targetOf(process.env.URL), new AbortController().signal)
    const [row] = await connection.run(sql\`select current_setting('application_name') as name\`).result
    await connection.close()
    process.stdout.write(row.name)`
  for (const value of ['any', 'standby']) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      env: {
        PATH: process.env.PATH,
        URL: url,
        PGTARGETSESSIONATTRS: value,
        PGHOST: 'elsewhere',
        PGUSER: 'stranger',
        PGPASSWORD: 'wrong',
        PGSSLMODE: 'require',
        PGAPPNAME: 'theirs',
        PGIDLE_TIMEOUT: '1',
        PGMAX_LIFETIME: '1',
        PGOPTIONS: '-c nonsense=1',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const said: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => said.push(chunk))
    const [code] = await once(child, 'close')
    t.strictSame([code, Buffer.concat(said).toString()], [0, 'lessor'])
  }
})
