import { readFile } from 'node:fs/promises'
import type { Test } from 'tap'
import { hexOf, ownerName, spaceName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { appFiles, asOwner, inOwn, leftOf, type OwnName, ownPlacement, prepared } from './own-support.ts'
import { openAdmin, openTenant, provisionTenant } from './support.ts'

const USERS = await readFile(new URL('../../sql/app/000001-users.sql', import.meta.url), 'utf8')
const FIRST = { '000001-users.sql': USERS }
const NOTES = `
  create table notes (tenant_id uuid, id int, primary key (tenant_id, id));
  insert into notes (tenant_id, id) values (current_setting('rls.tenant_id')::uuid, 1);
  select lessor.protect('notes')`
const SECOND = { ...FIRST, '000002-notes.sql': NOTES }

const PATIENT = { lockTimeoutMs: 0 }

/** A tenant at the first file, and its placement at `files`. */
async function behind(t: Test, name: OwnName, files: Readonly<Record<string, string>>) {
  const house = await prepared(t, name)
  const { admin, placement, url } = house
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  return { ...house, tenant, db, newer: ownPlacement(name, await appFiles(t, files)) }
}

function ledger(name: OwnName, tenantId: string) {
  return name === 'schema'
    ? sql`select name from lessor.schema_migrations where schema_name = ${spaceName(tenantId)} order by version`
    : sql`select name from lessor.app_migrations order by version`
}

/** migrateSuite is what `migrate` of a placement promises whose tenants have tables of their own. */
export function migrateSuite(t: Test, name: OwnName): void {
  t.test(`${name}: migrate runs what is missing, once, and says what it would run`, async (t) => {
    const { admin, placement, tenant, db, newer } = await behind(t, name, SECOND)
    t.strictSame(await placement.migrate(admin, tenant.id, PATIENT), [])
    t.strictSame(await newer.migrate(admin, tenant.id, { ...PATIENT, dryRun: true }), ['000002-notes'])
    sameRows(t, await db.query(sql`select to_regclass('notes') as notes`), [{ notes: null }], 'that was dry')
    t.strictSame(await newer.migrate(admin, tenant.id.toUpperCase(), PATIENT), ['000002-notes'])
    t.strictSame(await newer.migrate(admin, tenant.id, PATIENT), [])
    t.strictSame(await newer.migrate(admin, tenant.id, { ...PATIENT, dryRun: true }), [])
    sameRows(t, await db.query(sql`select tenant_id, id from notes`), [{ tenant_id: tenant.id, id: 1 }])
    await inOwn(admin, placement, tenant.id, async (there) => {
      sameRows(t, await there.query(ledger(name, tenant.id)), [
        { name: '000001-users' },
        { name: '000002-notes' },
      ])
      like(t, await there.query(sql`select tableowner from pg_tables where tablename = 'notes'`), [
        { tableowner: ownerName(tenant.id) },
      ])
    })
    like(t, await leftOf(admin, tenant.id), { roles: 3 }, 'the migrator is gone')
    await t.resolves(placement.check(db, tenant.id))
  })

  t.test(`${name}: a new tenant starts at the newest file, and a new colour changes no table`, async (t) => {
    const { admin, placement, url, tenant, newer } = await behind(t, name, SECOND)
    const fresh = await provisionTenant(t, newer, admin)
    sameRows(t, await (await openTenant(t, url, newer, fresh)).query(sql`select id from notes`), [{ id: 1 }])
    const green = await provisionTenant(t, newer, admin, { id: tenant.id, colour: 'green' })
    const db = await openTenant(t, url, placement, green)
    sameRows(t, await db.query(sql`select to_regclass('notes') as notes`), [{ notes: null }])
  })

  t.test(`${name}: several who migrate one tenant at once run each file once`, async (t) => {
    const { admin, tenant, newer, url, db } = await behind(t, name, {
      ...FIRST,
      '000002-slow.sql': 'create table ran (id serial primary key); select pg_sleep(0.2)',
      '000003-more.sql': 'insert into ran default values',
    })
    const admins = [admin, openAdmin(t, url), openAdmin(t, url)]
    const ran = await Promise.all(admins.map((each) => newer.migrate(each, tenant.id, PATIENT)))
    t.strictSame(ran.flat().sort(), ['000002-slow', '000003-more'])
    await asOwner(db, tenant.id, async () => {
      sameRows(t, await db.query(sql`select id from ran`), [{ id: 1 }])
    })
    like(t, await leftOf(admin, tenant.id), { roles: 3 })
  })

  t.test(`${name}: a file that fails leaves nothing, and the ones before it stay`, async (t) => {
    const { admin, tenant, db, newer } = await behind(t, name, {
      ...SECOND,
      '000003-broken.sql': 'create table broken (id int); select 1 / 0',
    })
    await rejectsLike(t, newer.migrate(admin, tenant.id, PATIENT), { code: '22012' })
    like(t, await db.query(sql`select to_regclass('notes') as notes, to_regclass('broken') as broken`), [
      { notes: 'notes', broken: null },
    ])
    like(t, await leftOf(admin, tenant.id), { roles: 3 }, 'the migrator is gone')
    const mended = await appFiles(t, { ...SECOND, '000003-mended.sql': 'create table broken (id int)' })
    t.strictSame(await ownPlacement(name, mended).migrate(admin, tenant.id, PATIENT), ['000003-mended'])
  })

  t.test(`${name}: a file that changed after it ran, and a tenant that is newer, are refused`, async (t) => {
    const { admin, placement, tenant, newer } = await behind(t, name, SECOND)
    const changed = ownPlacement(name, await appFiles(t, { '000001-users.sql': `${USERS}\nselect 1;` }))
    for (const dryRun of [true, false]) {
      await rejectsLike(t, changed.migrate(admin, tenant.id, { ...PATIENT, dryRun }), {
        name: 'MigrationError',
        message: /000001-users was changed after it ran/,
      })
    }
    await newer.migrate(admin, tenant.id, PATIENT)
    await rejectsLike(t, placement.migrate(admin, tenant.id, PATIENT), {
      name: 'MigrationError',
      message: /000002-notes, which this version of Lessor does not know/,
    })
  })

  t.test(
    `${name}: a lock that is held ends the migration after the given time, and nothing is half done`,
    async (t) => {
      const { admin, tenant, db, newer } = await behind(t, name, {
        ...FIRST,
        '000002-column.sql': 'create table before_it (id int); alter table users add column nickname text',
      })
      await db.command('begin')
      await db.query(sql`select from users`)
      await rejectsLike(t, newer.migrate(admin, tenant.id, { lockTimeoutMs: 50 }), { code: '55P03' })
      await db.command('commit')
      sameRows(t, await db.query(sql`select to_regclass('before_it') as made`), [{ made: null }])
      t.strictSame(await newer.migrate(admin, tenant.id, { lockTimeoutMs: 50 }), ['000002-column'])
    },
  )

  t.test(
    `${name}: code of the tenant's that runs in a migration has the tenant's rights and no more`,
    async (t) => {
      const { admin, placement, tenant, db, newer } = await behind(t, name, {
        ...FIRST,
        '000002-change.sql': `
        alter table users add column nickname text;
        update users set nickname = first_name`,
      })
      const { user } = placement.login(tenant.id, 'blue')
      await db.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
      await asOwner(db, tenant.id, async () => {
        await db.query(sql`create table seen (at text, who text, login text, got text)`)
        await db.run(`
        create function attack(place text) returns void language plpgsql as $$
        declare
          got text := '';
          attempt text;
        begin
          foreach attempt in array array[
            'reset role', 'set local role none', 'reset session authorization', 'set session authorization default',
            'alter role ${user} superuser', 'alter role ${user} bypassrls', 'grant lessor_owner to ${user}',
            'grant usage on schema ${name === 'schema' ? spaceName(tenant.id) : 'app'} to lessor_tenant',
            'insert into lessor.app_migrations values (99, ''forged'', '''')',
            'create role forged_${hexOf(tenant.id)}'
          ] loop
            begin
              execute attempt;
              if attempt ~ 'superuser|bypassrls|lessor|role forged' and attempt !~ '^grant usage' then
                got := got || attempt || '; ';
              end if;
            exception when others then null;
            end;
          end loop;
          execute 'set local role ${ownerName(tenant.id)}';
          insert into seen values (place, current_user, session_user, got);
        end $$`)
        await db.run(`
        create function attack_trigger() returns trigger language plpgsql as $$
        begin perform attack(tg_name); return null; end $$`)
        await db.run(`
        create function attack_row(place text) returns boolean language plpgsql as $$
        begin perform attack(place); return true; end $$`)
        await db.query(sql`
        create trigger at_once after update on users for each statement execute function attack_trigger()`)
        await db.query(sql`
        create constraint trigger at_commit after update on users deferrable initially deferred
        for each row execute function attack_trigger()`)
        await db.query(sql`create policy attack on users as restrictive using (attack_row('policy'))`)
        await db.query(sql`alter table users add check (attack_row('check'))`)
      })
      t.strictSame(await newer.migrate(admin, tenant.id, PATIENT), ['000002-change'])

      await asOwner(db, tenant.id, async () => {
        const seen = await db.query<{ at: string; who: string; login: string; got: string }>(
          sql`select at, who, login, got from seen where login like 'tm\\_%'`,
        )
        t.strictSame([...new Set(seen.map(({ at }) => at))].sort(), [
          'at_commit',
          'at_once',
          'check',
          'policy',
        ])
        for (const { who, login, got } of seen) {
          like(
            t,
            { who, login, got },
            {
              who: ownerName(tenant.id),
              login: new RegExp(`^tm_${hexOf(tenant.id)}_[0-9a-f]{8}$`),
              got: '',
            },
          )
        }
      })
      like(t, await admin.query(sql`select * from pg_roles where rolname = ${user}`), [
        { rolsuper: false, rolbypassrls: false },
      ])
      await asOwner(db, tenant.id, async () => {
        await db.query(sql`drop policy attack on users`)
      })
      await t.resolves(placement.check(db, tenant.id))
      like(t, await leftOf(admin, tenant.id), { roles: 3 })
    },
  )

  t.test(
    `${name}: code of the tenant's that hangs in a migration is ended when its time is up`,
    async (t) => {
      const { admin, tenant, db, newer } = await behind(t, name, {
        ...FIRST,
        '000002-change.sql': 'update users set first_name = last_name; create table after_it (id int)',
      })
      await db.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
      await asOwner(db, tenant.id, async () => {
        await db.run(`
        create function hang() returns trigger language plpgsql as $$
        begin set statement_timeout = 0; perform pg_sleep(3600); return null; end $$`)
        await db.query(
          sql`create trigger hang after update on users for each statement execute function hang()`,
        )
      })
      await rejectsLike(t, newer.migrate(admin, tenant.id, { ...PATIENT, timeoutMs: 200 }), {
        code: 'STATEMENT_TIMEOUT',
        message: 'The migration took longer than 200 ms.',
      })
      like(t, await leftOf(admin, tenant.id), { roles: 3 }, 'the migrator is gone, and its session with it')
      await asOwner(db, tenant.id, () => db.query(sql`drop trigger hang on users`))
      t.strictSame(await newer.migrate(admin, tenant.id, PATIENT), ['000002-change'])
    },
  )

  t.test(`${name}: names that a tenant has taken from the system's lead no migration astray`, async (t) => {
    const { admin, tenant, db, newer } = await behind(t, name, SECOND)
    const victim = await provisionTenant(t, newer, admin)
    await asOwner(db, tenant.id, async () => {
      await db.run(
        `create function current_setting(text) returns text language sql as $$ select '${victim.id}' $$`,
      )
      await db.run(
        `create function set_config(text, text, boolean) returns text language sql as $$ select '' $$`,
      )
      await db.run(`create table pg_class (oid oid, relname text, relkind "char")`)
    })
    t.strictSame(await newer.migrate(admin, tenant.id, PATIENT), ['000002-notes'])
    sameRows(t, await db.query(sql`select tenant_id from notes`), [{ tenant_id: tenant.id }])
  })

  t.test(
    `${name}: a migrator that a dead process has left is dropped once its password has run out`,
    async (t) => {
      const { admin, tenant, newer } = await behind(t, name, SECOND)
      const [expired, atWork] = [`tm_${hexOf(tenant.id)}_00000001`, `tm_${hexOf(tenant.id)}_00000002`]
      await admin.script(`
      create role ${expired} login valid until '2020-01-01';
      create role ${atWork} login valid until 'infinity'`)
      await newer.migrate(admin, tenant.id, PATIENT)
      sameRows(
        t,
        await admin.query(
          sql`select rolname from pg_roles where starts_with(rolname, ${`tm_${hexOf(tenant.id)}`})`,
        ),
        [{ rolname: atWork }],
      )
      await newer.unprovision(admin, tenant.id)
      like(t, await leftOf(admin, tenant.id), { roles: 0 })
    },
  )
}
