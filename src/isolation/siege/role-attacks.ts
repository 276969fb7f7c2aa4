import { begin, makeTables, patient } from './lock-attacks.ts'
import { asOwner, EVERYWHERE, OWN, SHARED, type SiegeAttack } from './siege-attack.ts'

/** ROLE_ATTACKS are in the way of who changes and drops roles: the attackers' own, and their neighbours'. */
export const ROLE_ATTACKS: readonly SiegeAttack[] = [
  {
    name: 'neighbour-pinned',
    about: "Names a neighbour's login in its default privileges, in a transaction that stays open",
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run(asOwner(raid.attacker))
      await raid.run(`alter default privileges grant select on tables to ${raid.victim.login}`)
      await raid.hold()
    },
  },
  {
    name: 'everyone-pinned',
    about:
      'Names each login that there is, and each new one, in its default privileges, in a transaction that stays open',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run(asOwner(raid.attacker))
      for (;;) {
        await raid.attempt(`do $$ declare name text; begin
          for name in select rolname from pg_roles where rolname ~ '^t[a-z]_' loop
            begin execute format('alter default privileges grant select on tables to %I', name);
            exception when others then null;
            end;
          end loop;
        end $$`)
        await raid.hold(100)
      }
    },
  },
  {
    name: 'neighbour-pinned-elsewhere',
    about:
      "Names a neighbour's login in its default privileges in the database postgres, in a transaction that stays open",
    placements: EVERYWHERE,
    sessions: 2,
    database: 'postgres',
    async act(raid) {
      await begin(raid)
      await raid.run(`alter default privileges grant select on tables to ${raid.victim.login}`)
      await raid.hold()
    },
  },
  {
    name: 'neighbour-named-for-good',
    about: "Names a neighbour's login in its default privileges in the database postgres, and keeps doing so",
    placements: EVERYWHERE,
    sessions: 2,
    database: 'postgres',
    async act(raid) {
      await patient(raid)
      const { login } = raid.victim
      await raid.attempt(`alter default privileges grant select on tables to ${login};
        alter default privileges grant execute on functions to ${login}`)
      await raid.hold(50)
      await raid.attempt(`alter default privileges revoke select on tables from ${login}`)
    },
  },
  {
    name: 'neighbour-granted',
    about: "Grants something of its own to a neighbour's login, in a transaction that stays open",
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run(asOwner(raid.attacker))
      await raid.run(
        raid.attacker.placement === 'role' || raid.attacker.placement === 'row'
          ? `do $$ begin execute format('grant select on large object %s to ${raid.victim.login}', lo_create(0)); end $$`
          : `create table siege_${raid.number} (); grant select on siege_${raid.number} to ${raid.victim.login}`,
      )
      await raid.hold()
    },
  },
  {
    name: 'neighbour-granted-in-turns',
    about: "Grants large objects to a neighbour's login and takes them back, without a pause",
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      const { login } = raid.victim
      await patient(raid)
      await raid.attempt(`do $$ declare object oid; begin
        for i in 1..20 loop
          object := lo_create(0);
          execute format('grant select on large object %s to ${login}', object);
          perform lo_unlink(object);
        end loop;
      end $$`)
    },
  },
  {
    name: 'setting-pinned',
    about: 'Sets something for its own role, in a transaction that stays open',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run(`alter role current_user set work_mem = '5MB'`)
      await raid.hold()
    },
  },
  {
    name: 'password-pinned',
    about: 'Sets its own password, in a transaction that stays open, so that its line in pg_authid is locked',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run(`alter role current_user password 'siege'`)
      await raid.hold()
    },
  },
  {
    name: 'password-in-turns',
    about:
      'Sets its own password and settings without a pause, so that those who change its role meet a newer line',
    placements: EVERYWHERE,
    sessions: 2,
    pauseMs: 20,
    async act(raid) {
      await patient(raid)
      await raid.attempt(`alter role current_user set work_mem = '${5 + raid.number}MB'`)
      await raid.attempt(`alter role current_user connection limit 1000`)
      // Its own, so that it can log in again.
      await raid.attempt(
        `alter role current_user password '${raid.attacker.target.password.reveal().replaceAll("'", "''")}'`,
      )
    },
  },
  {
    name: 'own-role-spoilt',
    about: 'Sets another password and senseless settings for its own role, for good',
    placements: EVERYWHERE,
    sessions: 1,
    async act(raid) {
      await begin(raid)
      await raid.run(`commit; alter role current_user set statement_timeout = 1;
        alter role current_user set search_path = pg_catalog; alter role current_user set lock_timeout = 1;
        alter role current_user set default_transaction_read_only = on; alter role current_user password 'siege'`)
      await raid.hold()
    },
  },
  {
    name: 'own-rights-dropped',
    about: 'Drops all that is its own, in a transaction that stays open',
    placements: EVERYWHERE,
    sessions: 1,
    async act(raid) {
      await begin(raid)
      await raid.attempt('drop owned by current_user')
      await raid.hold()
    },
  },
  {
    name: 'prepared-transactions',
    about: 'Prepares transactions, which hold their locks without a session',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      await raid.run(`alter role current_user set work_mem = '6MB'`).catch(() => {})
      await raid.attempt('rollback; begin; set transaction read write')
      if (SHARED.some((name) => name === raid.attacker.placement)) {
        await raid.run('set local lock_timeout = 500; lock table app.users in access exclusive mode')
      } else await raid.run('select pg_advisory_xact_lock(1)')
      await raid.run(`prepare transaction 'siege ${raid.attacker.hex} ${raid.number} ${Date.now()}'`)
    },
    async find({ run, attackers }) {
      const rows = await run(`select count(*) from pg_prepared_xacts
        where owner ~ '(${attackers.map(({ hex }) => hex).join('|')})'`)
      const left = Number(rows[0]?.[0] ?? 0)
      return { text: `${left} prepared at the end`, holds: true }
    },
  },
  {
    name: 'many-tables',
    about: 'Has made very many tables',
    placements: OWN,
    sessions: 1,
    isSlowToDelete: true,
    async prepare(raid) {
      if (raid.attacker.part === 'deleted') await makeTables(raid, raid.sizes.tables)
    },
    async act(raid) {
      await raid.hold()
    },
  },
  {
    name: 'many-large-objects',
    about: 'Has made very many large objects',
    placements: EVERYWHERE,
    sessions: 1,
    isSlowToDelete: true,
    async prepare(raid) {
      if (raid.attacker.part !== 'deleted') return
      await patient(raid)
      const step = 1_000
      for (let from = 1; from <= raid.sizes.largeObjects; from += step) {
        const count = Math.min(step, raid.sizes.largeObjects - from + 1)
        await raid.run(`select count(lo_create(0)) from generate_series(1, ${count})`)
      }
    },
    async act(raid) {
      await raid.hold()
    },
  },
  {
    name: 'many-grants',
    about: "Has granted very many large objects to a neighbour's login",
    placements: EVERYWHERE,
    sessions: 1,
    isSlowToDelete: true,
    async prepare(raid) {
      if (raid.attacker.part !== 'deleted') return
      await patient(raid)
      const step = 500
      const most = Math.min(raid.sizes.largeObjects, 10_000)
      for (let from = 1; from <= most; from += step) {
        await raid.run(`do $$ begin
          for i in 1..${Math.min(step, most - from + 1)} loop
            execute format('grant select on large object %s to ${raid.victim.login}', lo_create(0));
          end loop;
        end $$`)
      }
    },
    async act(raid) {
      await raid.hold()
    },
  },
  {
    name: 'large-objects-elsewhere',
    about: 'Has made very many large objects in the database postgres, which lets every login in',
    placements: EVERYWHERE,
    sessions: 1,
    isSlowToDelete: true,
    database: 'postgres',
    async prepare(raid) {
      if (raid.attacker.part !== 'deleted') return
      await patient(raid)
      const step = 1_000
      const most = Math.min(raid.sizes.largeObjects, 10_000)
      for (let from = 1; from <= most; from += step) {
        await raid.run(
          `select count(lo_create(0)) from generate_series(1, ${Math.min(step, most - from + 1)})`,
        )
      }
    },
    async act(raid) {
      await raid.hold()
    },
  },
  {
    name: 'own-rows-locked',
    about: 'Locks its own rows in a transaction that stays open',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      await raid.run(`insert into users (first_name, last_name) values ('Siege', 'Siege')`)
      await begin(raid)
      await raid.run('select from users for update')
      await raid.hold()
    },
  },
]
