import type { CatalogObject } from '../../src/isolation/catalog-objects.ts'
import { type Db, sql } from '../../src/pool/statement.ts'

/** Mutation is one wall taken down or weakened. */
export interface Mutation {
  readonly name: string
  readonly text: string
  /** Schema whose objects are attacked besides the tenants' own. */
  readonly schema: string
}

/** Parties is the roles that the mutations favour. */
export interface Parties {
  /** Logins of tenants and of the service's runtime. */
  readonly logins: readonly string[]
  /** What the tenants' grants name: groups, or one tenant's own. */
  readonly groups: readonly string[]
  /** Another tenant's login. */
  readonly stranger: string
}

interface Policy {
  readonly table: string
  readonly name: string
}

interface TableColumn {
  readonly table: string
  readonly column: string
}

interface Grant {
  readonly table: string
  readonly grantee: string
  readonly verb: string
}

const OPEN = '(true)'

/** What hurts others and is PUBLIC's by default; pg_logical_emit_message, which has other arguments from PostgreSQL 17 on, is beside them. */
const HARMFUL = [
  'pg_advisory_lock(bigint)',
  'pg_try_advisory_xact_lock_shared(integer, integer)',
  'pg_advisory_unlock_all()',
  'lo_create(oid)',
  'lo_creat(integer)',
  'lo_from_bytea(oid, bytea)',
  'pg_export_snapshot()',
]

/** mutationsOf takes down, one by one, every wall that the catalog has around the tables of some schemas. */
export async function mutationsOf(
  db: Db,
  objects: readonly CatalogObject[],
  homes: ReadonlySet<string>,
  parties: Parties,
): Promise<readonly Mutation[]> {
  const own = objects.filter(({ schema, kind }) => homes.has(schema) && kind !== 'schema')
  const tables = own.filter(({ kind }) => kind === 'table').map(({ name }) => name)
  const partitioned = new Set(own.filter(({ isPartitioned }) => isPartitioned).map(({ name }) => name))
  const [policies, grants] = [await readPolicies(db, tables), await readGrants(db, tables)]
  const shared = own
    .filter(({ kind, schema }) => kind === 'table' && schema === 'app')
    .map(({ name }) => name)
  const columns = await readColumns(db, shared)
  const texts: (readonly [name: string, text: string, schema?: string])[] = [
    ...policies.flatMap(onPolicy),
    ...grants.map(
      ({ table, grantee, verb }) =>
        [`revoke ${verb} from ${grantee}`, `revoke ${verb} on ${table} from "${grantee}"`] as const,
    ),
    ...tables.flatMap((table) => onTable(table, parties)),
    ...columns.flatMap(onStatistics),
    ...tables.filter((table) => !partitioned.has(table)).flatMap(onKeys),
    ...own.flatMap((object) => onOther(object, parties)),
    ...[...homes].flatMap((home) => onSchema(home, parties)),
    ...objects.filter(({ schema }) => schema === 'lessor').flatMap((object) => onService(object, parties)),
    ...onRoles(parties),
    ...onDatabase(parties),
  ]
  return texts.map(([name, text, schema = 'app']) => ({ name, text, schema }))
}

function onPolicy({ table, name }: Policy): (readonly [string, string])[] {
  return [
    [`drop ${name}`, `drop policy ${name} on ${table}`],
    [`${name} for all rows`, `alter policy ${name} on ${table} using ${OPEN}`],
    [`${name} checks nothing`, `alter policy ${name} on ${table} with check ${OPEN}`],
    [
      `${name} without a tenant hides all`,
      `alter policy ${name} on ${table} using (tenant_id = nullif(current_setting('rls.tenant_id', true), '')::uuid)`,
    ],
    [`${name} for everybody`, `alter policy ${name} on ${table} to public`],
  ].map(([what, text]) => [`${what} on ${table}`, text] as const) as (readonly [string, string])[]
}

function onTable(table: string, { groups, logins, stranger }: Parties): (readonly [string, string])[] {
  const anyone = [...groups, 'public']
  return [
    [`row level security off`, `alter table ${table} disable row level security`],
    [`no force`, `alter table ${table} no force row level security`],
    [`one more policy`, `create policy leak on ${table} using ${OPEN}`],
    [`one more policy to read`, `create policy leak on ${table} for select using ${OPEN}`],
    [
      `a policy with a subquery`,
      `create policy leak on ${table} using (tenant_id in (select tenant_id from ${table}))`,
    ],
    [`tenant_id without its default`, `alter table ${table} alter column tenant_id drop default`],
    [
      `tenant_id with another default`,
      `alter table ${table} alter column tenant_id set default gen_random_uuid()`,
    ],
    [
      `an index that starts with another column`,
      `do $$ begin create index leak on ${table} ((1), tenant_id); alter index ${schemaOf(table)}.leak alter column 1 set statistics 0; end $$`,
    ],
    [`a rule`, `create rule leak as on insert to ${table} do also select 1`],
    ...logins
      .slice(0, 1)
      .map((login) => [`owned by a login`, `alter table ${table} owner to "${login}"`] as const),
    ...anyone.flatMap((group) =>
      ['truncate', 'references', 'trigger'].map(
        (right) => [`${right} for ${group}`, `grant ${right} on ${table} to ${group}`] as const,
      ),
    ),
    [`all for everybody`, `grant all on ${table} to public`],
    [`select for everybody`, `grant select on ${table} to public`],
    [`a column for everybody`, `grant select (tenant_id) on ${table} to public`],
    [`select for a stranger`, `grant select on ${table} to "${stranger}"`],
    ...groups.map(
      (group) =>
        [`select to pass on for ${group}`, `grant select on ${table} to ${group} with grant option`] as const,
    ),
  ].map(([what = '', text = '']) => [`${what} on ${table}`, text] as const)
}

/** What is kept of shared tables' values; a tenant's own tell a tenant of itself. */
function onStatistics({ table, column }: TableColumn): (readonly [string, string])[] {
  return [
    [`values of ${column} kept`, `alter table ${table} alter column ${column} set statistics 10`],
    [`values of a column that comes later`, `alter table ${table} add column leak text`],
    [`values of an index`, `create index leak on ${table} (tenant_id, (tenant_id::text))`],
    [
      `a statistics object`,
      `create statistics ${schemaOf(table)}.leak on tenant_id, (tenant_id::text) from ${table}`,
    ],
  ].map(([what = '', text = '']) => [`${what} on ${table}`, text] as const)
}

function schemaOf(table: string): string {
  return table.slice(0, table.indexOf('.'))
}

/** PostgreSQL itself wants the key of a partitioned table to hold its partition key. */
function onKeys(table: string): (readonly [string, string])[] {
  return [
    [
      `a key without tenant_id`,
      `alter table ${table} add column leak uuid unique, alter column leak set statistics 0`,
    ],
    [
      `a foreign key without tenant_id`,
      `alter table ${table} add column leak uuid unique, add column leak2 uuid references ${table} (leak), alter column leak set statistics 0, alter column leak2 set statistics 0`,
    ],
  ].map(([what = '', text = '']) => [`${what} on ${table}`, text] as const)
}

function onOther({ kind, name }: CatalogObject, { groups }: Parties): (readonly [string, string])[] {
  switch (kind) {
    case 'view':
      return [[`${name} shows what its owner sees`, `alter view ${name} set (security_invoker = false)`]]
    case 'partition':
    case 'materialized view':
    case 'foreign table':
    case 'sequence':
      return groups.map(
        (group) => [`select on ${name} for ${group}`, `grant select on ${name} to ${group}`] as const,
      )
    case 'function':
      return [[`${name} runs as its owner`, `alter function ${name} security definer`]]
    default:
      return []
  }
}

function onSchema(home: string, { groups, stranger, logins }: Parties): (readonly [string, string])[] {
  return [
    [`everybody uses ${home}`, `grant usage on schema ${home} to public`],
    [`a stranger creates in ${home}`, `grant create on schema ${home} to "${stranger}"`],
    ...groups.map(
      (group) => [`${group} creates in ${home}`, `grant create on schema ${home} to ${group}`] as const,
    ),
    ...logins
      .slice(0, 1)
      .map((login) => [`${home} belongs to a login`, `alter schema ${home} owner to "${login}"`] as const),
    [
      `what comes into ${home} is everybody's`,
      `alter default privileges in schema ${home} grant select on tables to public`,
    ],
    [`a table that nobody protects in ${home}`, `create table ${home}.forgotten (id integer primary key)`],
  ]
}

function onService(
  { kind, name }: CatalogObject,
  { groups }: Parties,
): (readonly [string, string, string])[] {
  if (kind === 'table') {
    return groups.map((group) => [
      `select on ${name} for ${group}`,
      `grant select on ${name} to ${group}`,
      'lessor',
    ])
  }
  if (kind !== 'function') return []
  return [[`${name} for everybody`, `grant execute on function ${name} to public`, 'lessor']]
}

function onRoles({ logins, stranger }: Parties): (readonly [string, string])[] {
  const groups = [
    'lessor_owner',
    'lessor_tenant',
    'lessor_row',
    'lessor_keeper',
    'lessor_schema',
    'lessor_ddl',
  ]
  return [
    ...groups.flatMap((role) =>
      ['login', 'bypassrls', 'superuser', 'createrole'].map(
        (attribute) => [`${role} with ${attribute}`, `alter role ${role} ${attribute}`] as const,
      ),
    ),
    ...logins.flatMap((login) => [
      ...['bypassrls', 'superuser', 'createrole', 'createdb', 'replication'].map(
        (attribute) => [`${login} with ${attribute}`, `alter role "${login}" ${attribute}`] as const,
      ),
      ...[
        'lessor_owner',
        'lessor_keeper',
        'pg_read_all_data',
        'pg_write_all_data',
        'pg_monitor',
        stranger,
      ].map((role) => [`${login} in ${role}`, `grant "${role}" to "${login}"`] as const),
    ]),
    ['the group of tenants reads all', 'grant pg_read_all_data to lessor_tenant'],
    ['a role with a comment', `comment on role "${stranger}" is 'the name of a customer'`],
  ]
}

function onDatabase({ groups }: Parties): (readonly [string, string])[] {
  return [
    ['everybody connects', onThisDatabase('grant connect on database %I to public')],
    ['everybody makes temporary tables', onThisDatabase('grant temporary on database %I to public')],
    ['everybody uses schema public', 'grant usage on schema public to public'],
    ['everybody uses schema lessor', 'grant usage on schema lessor to public'],
    ...groups.flatMap((group): (readonly [string, string])[] => [
      [`${group} makes schemas`, onThisDatabase(`grant create on database %I to ${group}`)],
      [`${group} uses schema lessor`, `grant usage on schema lessor to ${group}`],
      [`${group} uses schema public`, `grant usage on schema public to ${group}`],
    ]),
    [
      'an untrusted function for everybody',
      `create function public.leak() returns text language sql security definer return 'x'`,
    ],
    ...HARMFUL.map(
      (signature) =>
        [
          `${signature} for everybody`,
          `grant execute on function pg_catalog.${signature} to public`,
        ] as const,
    ),
    [
      'pg_logical_emit_message for everybody',
      `do $$ declare each regprocedure; begin
        for each in select oid from pg_proc where proname = 'pg_logical_emit_message' loop
          execute format('grant execute on function %s to public', each);
        end loop;
      end $$`,
    ],
    [
      'a large object for everybody',
      `do $$ begin execute format('grant select on large object %s to public', lo_from_bytea(0, 'x')); end $$`,
    ],
  ]
}

function onThisDatabase(format: string): string {
  return `do $$ begin execute format('${format}', current_database()); end $$`
}

/** readColumns gives a column of each table, besides tenant_id. */
async function readColumns(db: Db, tables: readonly string[]): Promise<readonly TableColumn[]> {
  return db.query<TableColumn>(sql`
    select distinct on (t.name) t.name as table, quote_ident(a.attname) as column
    from unnest(string_to_array(${tables.join(',')}, ',')) t (name) join pg_attribute a on a.attrelid = t.name::regclass
    where a.attnum > 0 and not a.attisdropped and a.attname <> 'tenant_id'
    order by t.name, a.attnum`)
}

async function readPolicies(db: Db, tables: readonly string[]): Promise<readonly Policy[]> {
  return db.query<Policy>(sql`
    select p.polname as name, t.name as table
    from unnest(string_to_array(${tables.join(',')}, ',')) t (name) join pg_policy p on p.polrelid = t.name::regclass
    order by 2, 1`)
}

async function readGrants(db: Db, tables: readonly string[]): Promise<readonly Grant[]> {
  return db.query<Grant>(sql`
    select t.name as table, g.rolname as grantee, lower(a.privilege_type) as verb
    from unnest(string_to_array(${tables.join(',')}, ',')) t (name) join pg_class c on c.oid = t.name::regclass
    cross join lateral aclexplode(c.relacl) a join pg_roles g on g.oid = a.grantee
    where a.grantee <> c.relowner
    order by 1, 2, 3`)
}
