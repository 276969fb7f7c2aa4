import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { runProbe } from '../../src/servers/probe.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { startTestServer } from '../support/server.ts'
import { type Rewrite, rewritingAdmin } from './rewriting-admin.ts'

// A server of this file's own: what a probe leaves behind would show here, and so would another one's.
const { url: superuserUrl, stop } = await startTestServer()
t.teardown(stop)

function open(t: Test, url = superuserUrl) {
  const address = parseDatabaseUrl(url)
  const admin = new ServerAdmin({ address })
  t.teardown(() => admin.close())
  return { admin, address }
}

/** Probes a server on which scripts come out otherwise. */
async function probeRewritten(t: Test, rewrite: Rewrite) {
  const { admin, address } = open(t)
  return runProbe({ admin: rewritingAdmin(admin, rewrite), address })
}

/** An administrator who is no superuser, with a database. */
async function administrator(
  t: Test,
  {
    attributes = 'createrole createdb',
    owns = true,
  }: { readonly attributes?: string; readonly owns?: boolean },
) {
  const superuser = open(t).admin
  const name = `landlord_${randomUUID().slice(0, 8)}`
  const password = randomUUID()
  await superuser.script(`create role ${name} login ${attributes} password '${password}'`)
  await superuser.script(`create database ${name} owner ${owns ? name : 'postgres'}`)
  const url = new URL(superuserUrl)
  url.username = name
  url.password = password
  url.pathname = `/${name}`
  return open(t, url.href)
}

/** All that probes have left in the server, of roles, databases and schemas. */
async function leftovers({ admin }: { readonly admin: ServerAdmin }): Promise<readonly object[]> {
  return admin.query(sql`
    select rolname::text as name from pg_roles where rolname ~ 'probe'
    union all select datname from pg_database where datname ~ 'probe'
    union all select nspname from pg_namespace where nspname ~ 'probe'`)
}

const ALL = ['row', 'role', 'schema', 'database']

t.test(
  'a superuser of a PostgreSQL server may have all placements, and nothing is left behind',
  async (t) => {
    const probe = open(t)
    like(t, await runProbe(probe), {
      version: /^\d+\./,
      engine: 'postgresql',
      placements: ALL,
      partitions: true,
      tablespaces: ['pg_default'],
      notify: true,
      advisory_locks: true,
      create_database: true,
      create_role: true,
      problems: [],
      notes: [],
    })
    sameRows(t, await leftovers(probe), [])
    sameRows(
      t,
      await probe.admin.query(sql`
      select datacl from pg_database where datname = current_database() and datacl::text ~ 'probe'`),
      [],
    )
  },
)

t.test('probes at once do not meet', async (t) => {
  const probes = [open(t), open(t), open(t)]
  const found = await Promise.all(probes.map((probe) => runProbe(probe)))
  t.strictSame(
    found.map(({ placements, problems }) => ({ placements, problems })),
    probes.map(() => ({ placements: ALL, problems: [] })),
  )
  for (const probe of probes.slice(0, 1)) sameRows(t, await leftovers(probe), [])
})

t.test('an administrator who is no superuser', async (t) => {
  t.test('carries all with CREATEROLE, CREATEDB and a database of its own', async (t) => {
    const probe = await administrator(t, {})
    like(t, await runProbe(probe), { placements: ALL, problems: [], create_database: true, tablespaces: [] })
    sameRows(t, await leftovers(probe), [])
  })

  t.test('carries no databases without CREATEDB', async (t) => {
    const probe = await administrator(t, { attributes: 'createrole' })
    like(t, await runProbe(probe), {
      placements: ['row', 'role', 'schema'],
      create_database: false,
      problems: [{ placement: 'database', reason: /CREATEDB/ }],
    })
    sameRows(t, await leftovers(probe), [])
  })

  t.test('carries nothing without CREATEROLE', async (t) => {
    const found = await runProbe(await administrator(t, { attributes: 'createdb' }))
    like(t, found, {
      placements: [],
      create_role: false,
      problems: ALL.map((placement) => ({ placement, reason: /CREATEROLE/ })),
    })
  })

  t.test('carries nothing in a database that it does not own', async (t) => {
    const probe = await administrator(t, { owns: false })
    const found = await runProbe(probe)
    like(t, found, {
      placements: [],
      create_role: true,
      problems: ALL.map((placement) => ({ placement, reason: /owner of the database/ })),
    })
    sameRows(t, await leftovers(probe), [])
  })
})

/** What an engine may do otherwise, which placements that ends, and how it is said. */
const ENGINES: readonly (readonly [string, Rewrite, readonly string[], RegExp])[] = [
  [
    'does not know FORCE',
    (text) => text.replace(', force row level security', ''),
    ['row', 'role'],
    /FORCE ROW LEVEL SECURITY/,
  ],
  [
    'ignores a policy by the name of the role',
    (text) => text.replace('using (tenant_id = right(current_user, 32)::uuid)', 'using (true)'),
    ['role'],
    /does not hide/,
  ],
  [
    'does not check rows that a role writes',
    (text) => text.replace('with check (tenant_id = right(current_user, 32)::uuid)', 'with check (true)'),
    ['role'],
    /write rows of another/,
  ],
  [
    'ignores a policy by a setting',
    (text) =>
      text.replace(
        "using (tenant_id = current_setting('rls.tenant_id')::uuid)",
        "using (current_setting('rls.tenant_id')::uuid is not null)",
      ),
    ['row'],
    /does not hide/,
  ],
  [
    'does not check rows that a bound transaction writes',
    (text) =>
      text.replace("with check (tenant_id = current_setting('rls.tenant_id')::uuid)", 'with check (true)'),
    ['row'],
    /write rows of another/,
  ],
  [
    'shows all rows where the setting is missing',
    (text) =>
      text.replace(
        "using (tenant_id = current_setting('rls.tenant_id')::uuid)",
        "using (tenant_id = coalesce(nullif(current_setting('rls.tenant_id', true), '')::uuid, tenant_id))",
      ),
    ['row'],
    /without a tenant sees rows \(rls\.tenant_id never set\)/,
  ],
  [
    'hides all rows where the setting is missing, instead of refusing',
    (text) =>
      text.replace(
        "using (tenant_id = current_setting('rls.tenant_id')::uuid)",
        "using (tenant_id = nullif(current_setting('rls.tenant_id', true), '')::uuid)",
      ),
    ['row'],
    /without a tenant is not refused/,
  ],
  [
    'fails closed before the first setting only',
    (text) =>
      text.replace(
        "using (tenant_id = current_setting('rls.tenant_id')::uuid)",
        "using (case current_setting('rls.tenant_id') when '' then true else tenant_id = current_setting('rls.tenant_id')::uuid end)",
      ),
    ['row'],
    /set by an earlier transaction/,
  ],
  [
    'hides the rows of the tenant itself',
    (text) => text.replace('using (tenant_id = right(current_user, 32)::uuid)', 'using (false)'),
    ['role'],
    /hides the rows of the tenant itself/,
  ],
  [
    'lets logins become the owner',
    (text) => text.replace(/create role (\S+) login[\s\S]*grant (\S+) to current_user/, '$&; grant $2 to $1'),
    ALL,
    /SET ROLE/,
  ],
  [
    'lets logins that bypass row level security in',
    (text) => text.replaceAll(/(create role \S+ login)/g, '$1 bypassrls'),
    ['row', 'role'],
    /does not hide|sees rows/,
  ],
  [
    'shows tables to whoever knows their names',
    (text) => text.replace(/grant select on (\S+) to \S+$/, 'grant select on $1 to public'),
    ['schema'],
    /no grant/,
  ],
  ['does not lock rows', (text) => text.replace(' nowait', ' skip locked'), ALL, /locked by another/],
  [
    'lets everybody into every database',
    (text) => text.replace(/revoke all on database \S+ from public; /, ''),
    ['database'],
    /may not connect/,
  ],
]

/** A database takes longer to make than all else, and is of no account for most. */
const withoutDatabase: Rewrite = (text) =>
  text.replace(/^create database \S+$/, 'create table pg_catalog.nothing ()')

for (const [what, rewrite, placements, reason] of ENGINES) {
  t.test(`an engine that ${what} does not carry ${placements.join(', ')}`, async (t) => {
    const isOfDatabases = placements.includes('database')
    const found = await probeRewritten(t, (text) => rewrite(isOfDatabases ? text : withoutDatabase(text)))
    const problems = found.problems.filter(({ placement }) => isOfDatabases || placement !== 'database')
    like(
      t,
      problems,
      placements.map((placement) => ({ placement, reason })),
    )
    for (const placement of placements) t.notOk(found.placements.some((each) => each === placement))
    sameRows(t, await leftovers(open(t)), [])
  })
}

t.test('what a server can do without is found out and costs no placement', async (t) => {
  like(t, await probeRewritten(t, (text) => text.replace('partition by list', 'partition by magic')), {
    placements: ALL,
    partitions: false,
  })
  const { admin, address } = open(t)
  like(t, await runProbe({ admin, address: { ...address, port: 1 } }), { placements: ALL, notify: false })
})

t.test('a server that does not look at passwords is told of', async (t) => {
  const { admin, address } = open(t)
  const { stop, url } = await startTestServer()
  t.teardown(stop)
  const trusting = open(t, url)
  t.not(address.port, trusting.address.port)
  await trusting.admin.script(`
    do $$ begin
      execute format('copy (select %L) to %L', 'host all all all trust', current_setting('hba_file'));
    end $$;
    select pg_reload_conf()`)
  // A reload takes effect soon, for connections that are made after it.
  const wrong = { user: trusting.address.user, password: new Secret('wrong') }
  const isTrusted = () =>
    trusting.admin
      .asLogin(wrong, (db) => db.script('select 1'))
      .then(
        () => true,
        () => false,
      )
  while (!(await isTrusted())) await new Promise((resolve) => setTimeout(resolve, 10))
  like(t, await runProbe(trusting), { placements: ALL, notes: [/trust/] })
  like(t, await runProbe({ admin, address }), { notes: [] })
})

t.test('a probe that fails half-way cleans up, and says why it failed', async (t) => {
  const { admin, address } = open(t)
  let logins = 0
  const failing = {
    ...rewritingAdmin(admin, (text) => text),
    asLogin: async () => {
      logins += 1
      throw new Error('the cable')
    },
  }
  await rejectsLike(t, runProbe({ admin: failing, address }), { message: 'the cable' })
  t.equal(logins, 1)
  sameRows(t, await leftovers({ admin }), [])
})

t.test(
  'what a probe that died has left behind goes with a later one, and nobody else is touched',
  async (t) => {
    const { admin, address } = open(t)
    const young = `lessor_probe_${Math.floor(Date.now() / 1000)}_0123456789ab`
    await admin.script(`
    create role lessor_probe_1600000000_0123456789ab_owner nologin;
    create role lessor_probe_1600000000_0123456789ab_role nologin;
    create role lessor_probe_1600000000_00000000000000000000000000000000 login;
    create schema lessor_probe_1600000000_0123456789ab
      authorization lessor_probe_1600000000_0123456789ab_owner;
    grant connect on database postgres to lessor_probe_1600000000_0123456789ab_role;
    create schema ${young}`)
    await admin.script('create database lessor_probe_1600000000_0123456789ab')
    await runProbe({ admin, address })
    sameRows(t, await leftovers({ admin }), [{ name: young }])
    await admin.script(`drop schema ${young}`)
  },
)

t.test('a server that is away is no answer', async (t) => {
  const { address } = open(t)
  const gone = { ...address, port: 1 }
  const admin = new ServerAdmin({ address: gone })
  t.teardown(() => admin.close())
  await rejectsLike(t, runProbe({ admin, address: gone }), { code: 'SERVER_UNAVAILABLE' })
})
