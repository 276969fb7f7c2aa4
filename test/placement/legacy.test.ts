import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { type Statement, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { type ConnectionDb, openAdmin, openSession, rolePlacement } from './support.ts'

const run = promisify(execFile)

/** What docs/legacy.md prints: the tables, two logins, the rows. */
const [TABLES = '', SETTING_LOGIN = '', NAMED_LOGIN = '', ROWS = ''] = [
  ...readFileSync(new URL('../../docs/legacy.md', import.meta.url), 'utf8').matchAll(/```sql\n(.*?)```/gs),
].map(([, text]) => text)

/** pgbench, built-in script "tpcb-like" (PostgreSQL's manual, "What Is the Transaction Actually Performed"). */
const TPCB = [
  (aid: number, delta: number) =>
    sql`update pgbench_accounts set abalance = abalance + ${delta}::integer where aid = ${aid}::integer`,
  (aid: number) => sql`select abalance from pgbench_accounts where aid = ${aid}::integer`,
  (_: number, delta: number) =>
    sql`update pgbench_tellers set tbalance = tbalance + ${delta}::integer where tid = 3`,
  (_: number, delta: number) =>
    sql`update pgbench_branches set bbalance = bbalance + ${delta}::integer where bid = 1`,
  (aid: number, delta: number) => sql`
    insert into pgbench_history (tid, bid, aid, delta, mtime)
    values (3, 1, ${aid}::integer, ${delta}::integer, current_timestamp)`,
]

async function findPgbench(): Promise<string | undefined> {
  const root = '/usr/lib/postgresql'
  const installed = (() => {
    try {
      return readdirSync(root).map((version) => join(root, version, 'bin'))
    } catch {
      return []
    }
  })()
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...installed]) {
    const path = join(folder, 'pgbench')
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      // The next folder may have it.
    }
  }
  return undefined
}

/** The four tables on a data server of placements row and role, and a login of each kind for two tenants. */
async function open(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  await rolePlacement().prepare(admin)
  const declare = (tables: string) =>
    admin.transaction((tx) => tx.script(`set local search_path = app; ${tables}`))
  await declare(TABLES)

  async function login(name: string, script: string): Promise<string> {
    const password = randomPassword()
    t.teardown(() => admin.script(`drop role if exists ${name}`))
    await admin.script(script.replaceAll("'...'", `'${scramVerifier(password, { iterations: 4096 })}'`))
    const address = new URL(url)
    address.username = name
    address.password = password.reveal()
    return address.href
  }

  const shared = `lessor_row_${randomBytes(6).toString('hex')}`
  const byShared = await login(shared, SETTING_LOGIN.replaceAll(/lessor_row_\w+/g, shared))
  return {
    admin,
    declare,
    byShared,
    /** A login that is one tenant, whatever it sets. */
    named(id: string): Promise<string> {
      const hex = id.replaceAll('-', '')
      return login(
        `legacy_${hex}`,
        NAMED_LOGIN.replaceAll(/[0-9a-f]{32}/g, hex).replaceAll(
          /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g,
          id,
        ),
      )
    },
    /** A session as a program with PGOPTIONS has it; settings travel in `options`. */
    session: (tenantId: string) => openSession(t, byShared, { options: `-c rls.tenant_id=${tenantId}` }),
  }
}

async function fill(session: ConnectionDb): Promise<void> {
  for (const statement of ROWS.split(';').filter((each) => each.trim() !== '')) {
    // Text of the docs, which has no parameter.
    await session.query(sql(Object.assign([statement], { raw: [statement] })))
  }
}

interface Outcome {
  readonly status: number
  readonly text: string
}

/** Runs pgbench with this login, and this tenant in PGOPTIONS. */
async function pgbench(
  program: string,
  url: string,
  tenantId: string | undefined,
  ...args: string[]
): Promise<Outcome> {
  const { hostname, port, pathname, username, password } = new URL(url)
  const env = {
    PGHOST: hostname,
    PGPORT: port,
    PGDATABASE: pathname.slice(1),
    PGUSER: username,
    PGPASSWORD: password,
    ...(tenantId !== undefined && { PGOPTIONS: `-c rls.tenant_id=${tenantId}` }),
  }
  try {
    const { stdout, stderr } = await run(program, args, { env })
    return { status: 0, text: stdout + stderr }
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: number; stdout?: string; stderr?: string }
    return { status: Number(code), text: stdout + stderr }
  }
}

/** Runs as many transactions as told: by pgbench, or by its own statements where it is not installed. */
async function bench(
  t: Test,
  url: string,
  tenantId: string | undefined,
  transactions: number,
): Promise<void> {
  const program = await findPgbench()
  if (program !== undefined) {
    const half = String(transactions / 2)
    const { status, text } = await pgbench(
      program,
      url,
      tenantId,
      '-n',
      '-c',
      '2',
      '-t',
      half,
      '-M',
      'prepared',
    )
    t.equal(status, 0, text)
    t.match(text, new RegExp(`processed: ${transactions}/${transactions}`))
    return
  }
  t.comment('pgbench is not installed here: its statements run on a connection with the same options')
  const session = await openSession(
    t,
    url,
    tenantId === undefined ? {} : { options: `-c rls.tenant_id=${tenantId}` },
  )
  for (let n = 1; n <= transactions; n++) {
    const delta = Math.round(Math.random() * 10_000) - 5_000
    await session.transaction(async (tx) => {
      for (const statement of TPCB) await tx.query(statement(n, delta))
    })
  }
}

/** What the four tables hold for the session's tenant; all sums are the same when no transaction was lost or mixed up. */
async function balances(session: ConnectionDb) {
  const [row] = await session.query<{ transactions: number; accounts: number; sums: number }>(sql`
    select (select count(*)::integer from pgbench_history) as transactions,
      (select count(*)::integer from pgbench_accounts) as accounts,
      (select count(distinct total)::integer from (values
        ((select sum(delta) from pgbench_history)), ((select sum(abalance) from pgbench_accounts)),
        ((select sum(tbalance) from pgbench_tellers)), ((select sum(bbalance) from pgbench_branches))
      ) as sums (total)) as sums`)
  return row
}

t.test('pgbench runs unchanged for two tenants at once, each in rows of its own', async (t) => {
  const { admin, byShared, session } = await open(t)
  const [a, b] = [randomUUID(), randomUUID()]
  const [ofA, ofB] = [await session(a), await session(b)]
  await fill(ofA)
  await fill(ofB)
  await Promise.all([bench(t, byShared, a, 100), bench(t, byShared, b, 60)])
  t.strictSame(await balances(ofA), { transactions: 100, accounts: 100_000, sums: 1 })
  t.strictSame(await balances(ofB), { transactions: 60, accounts: 100_000, sums: 1 })
  const rows = await admin.query(sql`
    select tenant_id as id, count(*)::integer as rows from app.pgbench_history group by 1 order by 2`)
  sameRows(t, rows, [
    { id: b, rows: 60 },
    { id: a, rows: 100 },
  ])
})

t.test(
  'a login that is named after a tenant needs no option, and no setting leads it elsewhere',
  async (t) => {
    const { named, session } = await open(t)
    const [mine, other] = [randomUUID(), randomUUID()]
    await fill(await session(other))
    const url = await named(mine)
    const ofMine = await openSession(t, url)
    await fill(ofMine)
    await bench(t, url, undefined, 20)
    t.strictSame(await balances(ofMine), { transactions: 20, accounts: 100_000, sums: 1 })
    const astray = await openSession(t, url, { options: `-c rls.tenant_id=${other}` })
    t.strictSame(await balances(astray), { transactions: 20, accounts: 100_000, sums: 1 })
    await rejectsLike(t, astray.query(sql`insert into pgbench_branches (bid) values (2)`), { code: '42501' })
  },
)

t.test('without a tenant nothing runs', async (t) => {
  const { byShared, session } = await open(t)
  await fill(await session(randomUUID()))
  const program = await findPgbench()
  if (program !== undefined) {
    const { status, text } = await pgbench(program, byShared, undefined, '-n', '-t', '1')
    t.not(status, 0)
    t.match(text, /unrecognized configuration parameter "rls\.tenant_id"/)
  }
  const unbound = await openSession(t, byShared)
  await rejectsLike(t, unbound.query(sql`select bid from pgbench_branches`), { code: '42704' })
  const empty = await openSession(t, byShared, { options: '-c rls.tenant_id=' })
  await rejectsLike(t, empty.query(sql`select bid from pgbench_branches`), { code: '22P02' })
})

t.test('what a program may not do is refused as the page says', async (t) => {
  const { admin, declare, byShared, session } = await open(t)
  await declare(`
    create table numbered (tenant_id uuid not null, id integer generated always as identity, note text, primary key (tenant_id, id));
    create table counted (tenant_id uuid not null, id serial, note text, primary key (tenant_id, id));
    select lessor.protect('numbered'), lessor.protect('counted')`)
  const mine = randomUUID()
  const db = await session(mine)
  await fill(db)
  await rejectsLike(t, db.query(sql`truncate pgbench_history`), { code: '42501' })
  await rejectsLike(t, db.query(sql`copy pgbench_accounts (aid) from stdin`), {
    code: '0A000',
    message: /row-level security/,
  })
  const upsert = (target: Statement) => sql`
    insert into pgbench_branches (bid, bbalance) values (1, 5)
    on conflict ${target} do update set bbalance = excluded.bbalance returning bbalance`
  await rejectsLike(t, db.query(upsert(sql`(bid)`)), { code: '42P10' })
  sameRows(t, await db.query(upsert(sql`(tenant_id, bid)`)), [{ bbalance: 5 }])
  sameRows(t, await db.query(sql`insert into numbered (note) values ('first') returning id`), [{ id: 1 }])
  await rejectsLike(t, db.query(sql`insert into counted (note) values ('first')`), { code: '42501' })
  await rejectsLike(t, db.query(sql`create table app.own (id integer)`), { code: '42501' })
  await rejectsLike(t, db.query(sql`alter table pgbench_history add note text`), { code: '42501' })
  await admin.script('analyze app.pgbench_accounts')
  sameRows(t, await db.query(sql`select from pg_stats where tablename like 'pgbench%'`), [])

  // COPY TO goes through row level security.
  await (await session(randomUUID())).query(sql`insert into pgbench_branches (bid, bbalance) values (1, 7)`)
  const client = postgres(byShared, {
    max: 1,
    fetch_types: false,
    connection: { 'rls.tenant_id': mine } as object,
  })
  t.teardown(() => client.end())
  const copied: string[] = []
  for await (const chunk of await client`copy pgbench_branches (bid, bbalance) to stdout`.readable()) {
    copied.push(String(chunk))
  }
  t.equal(copied.join(''), '1\t5\n')

  const program = await findPgbench()
  if (program !== undefined) {
    const { status, text } = await pgbench(program, byShared, mine, '-i', '-I', 'g')
    t.not(status, 0)
    t.match(text, /permission denied for table pgbench_/)
  }
})
