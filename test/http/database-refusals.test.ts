import fastify, { type FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logger.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { createLessor } from '../../src/lessor.ts'
import { lessorPlugin } from '../../src/lessor-plugin.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { excludes } from '../support/like.ts'
import { PATIENT } from '../support/patient.ts'
import { UNWATCHED } from '../support/unwatched.ts'

const ID = '6f6e1c52-3c39-4f40-9d0c-5f0a8f6a2b11'
const BOB = sql`insert into users (id, first_name, last_name) values (${ID}::uuid, 'Bob', 'Stone')`

/** What a route of an app may ask of PostgreSQL, and how that is answered. */
const CASES: Readonly<
  Record<string, readonly [work: (db: Db) => Promise<unknown>, status: number, code: string]>
> = {
  '53400, temp_file_limit': [
    (db) =>
      db.query(
        sql`select count(*) from (select md5(g::text) as m from generate_series(1, 200000) g order by m) s`,
      ),
    507,
    'TEMP_SPACE_EXCEEDED',
  ],
  '23505, a row that is there': [
    async (db) => {
      await db.query(BOB)
      await db.query(BOB)
    },
    409,
    'CONSTRAINT_VIOLATED',
  ],
  '23502, no name': [
    (db) => db.query(sql`insert into users (first_name, last_name) values (null, 'x')`),
    400,
    'INVALID_REQUEST',
  ],
  '23514, an empty name': [
    (db) => db.query(sql`insert into users (first_name, last_name) values ('', 'x')`),
    400,
    'INVALID_REQUEST',
  ],
  '40001, raised': [
    (db) => db.query(sql`do $$ begin raise sqlstate '40001'; end $$`),
    409,
    'TRANSACTION_CONFLICT',
  ],
  '55P03, raised': [
    (db) => db.query(sql`do $$ begin raise sqlstate '55P03'; end $$`),
    409,
    'TRANSACTION_CONFLICT',
  ],
  '53200, raised': [
    (db) => db.query(sql`do $$ begin raise sqlstate '53200'; end $$`),
    503,
    'DATABASE_OVERLOADED',
  ],
  '53100, raised': [(db) => db.query(sql`do $$ begin raise sqlstate '53100'; end $$`), 507, 'DATABASE_FULL'],
  '54000, a text of a gigabyte': [
    (db) => db.query(sql`select repeat('x', 1073741824)`),
    400,
    'INVALID_REQUEST',
  ],
  '22007, no date': [(db) => db.query(sql`select ${'tomorrowish'}::text::date`), 400, 'INVALID_REQUEST'],
  '22023, no time zone': [
    (db) => db.query(sql`select now() at time zone ${'Nowhere/Else'}::text`),
    400,
    'INVALID_REQUEST',
  ],
  '2201B, no regular expression': [(db) => db.query(sql`select 'a' ~ ${'('}::text`), 400, 'INVALID_REQUEST'],
  '2201X, an offset below zero': [(db) => db.query(sql`select 1 offset ${-1}::int`), 400, 'INVALID_REQUEST'],
  '22012, a fault of the statement': [(db) => db.query(sql`select 1 / ${0}::int`), 500, 'INTERNAL'],
  '42P01, a fault of the statement': [(db) => db.query(sql`select 1 from nowhere`), 500, 'INTERNAL'],
}

t.test(
  'refusals of PostgreSQL that are the caller’s or the operator’s have a status of their own',
  async (t) => {
    const { url } = await testDatabase(t)
    const lines: string[] = []
    const config = loadConfig({
      DATABASE_URL: url,
      OPERATOR_KEY: 'o'.repeat(40),
      VAULT_KEYS: generateVaultKeys(),
      ROLE_TEMP_FILE_LIMIT_KB: '64',
      ...PATIENT,
      ...UNWATCHED,
    })
    const { logger } = createLogger('info', { write: (line) => lines.push(line) })
    const lessor = createLessor(config, { logger })
    const app = fastify({ loggerInstance: logger as FastifyBaseLogger })
    t.teardown(() => app.close())
    await app.register(problemPlugin)
    await app.register(lessorPlugin, { lessor })
    app.get<{ Querystring: { name: string } }>('/try', { onRequest: app.guards.tenant }, (request) =>
      app.lessor.use(request, async (db) => {
        await CASES[request.query.name]?.[0](db)
        return {}
      }),
    )
    const { api_key } = await lessor.tenants.onboard({ name: 'acme' })
    for (const [name, [, status, code]] of Object.entries(CASES)) {
      const answer = await app.inject({
        url: '/try',
        query: { name },
        headers: { authorization: `Bearer ${api_key.key}` },
      })
      t.strictSame([answer.statusCode, answer.json().code ?? ''], [status, code], name)
      excludes(t, answer.body, /users|Bob|Stone/)
      if (status === 503 || code === 'TRANSACTION_CONFLICT') t.equal(answer.headers['retry-after'], '1', name)
    }
    const constraints = lines
      .map((line) => JSON.parse(line))
      .filter(({ msg }) => msg === 'constraint violated')
    t.strictSame(
      constraints.map(({ sqlState, table, constraint }) => [sqlState, table, constraint]),
      [
        ['23505', 'users', 'users_pkey'],
        ['23502', 'users', undefined],
        ['23514', 'users', 'users_first_name_check'],
      ],
    )
    excludes(t, lines.join(''), /Stone/)
  },
)
