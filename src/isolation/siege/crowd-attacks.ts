import { begin, patient } from './lock-attacks.ts'
import { EVERYWHERE, type SiegeAttack } from './siege-attack.ts'

/** Said on a channel again and again, as much as a transaction may say quickly. */
const SAY = `do $$ begin
  for i in 1..200 loop perform pg_notify('siege', i || repeat('x', 7900)); end loop;
end $$`

/** CROWD_ATTACKS take all sessions, and fill what sessions have in common. */
export const CROWD_ATTACKS: readonly SiegeAttack[] = [
  {
    name: 'sessions',
    about: 'Three logins open as many sessions as they get and go on trying for more',
    placements: EVERYWHERE,
    sessions: 'all',
    async act(raid) {
      await raid.run('select 1')
      await raid.hold()
    },
  },
  {
    name: 'sleepers',
    about: 'As many sessions as it gets sleep in a statement, so that none of them idles',
    placements: EVERYWHERE,
    sessions: 'all',
    async act(raid) {
      await patient(raid)
      await raid.run('select pg_sleep(3600)')
    },
  },
  {
    name: 'stalled-logins',
    about: 'Begins as many logins as the server has places, and never sends a password',
    placements: EVERYWHERE,
    sessions: 'all',
    pauseMs: 20,
    logIn: 'stalled',
    unbounded:
      'It takes no password: a place is taken before, for the time of authentication_timeout, and no SQL of another session ends it. Keep the port closed to all but the service, by the network or pg_hba.conf (an address that is refused there takes no place), and set authentication_timeout to a few seconds',
    async act() {},
  },
  {
    name: 'wrong-passwords',
    about: 'Logs in with a wrong password without a pause',
    placements: EVERYWHERE,
    sessions: 8,
    pauseMs: 0,
    logIn: 'wrong-password',
    async act() {},
  },
  {
    name: 'other-databases',
    about: 'Holds sessions in template1, from which databases may be made',
    placements: EVERYWHERE,
    sessions: 2,
    database: 'template1',
    async act(raid) {
      await patient(raid)
      await raid.hold()
    },
  },
  {
    name: 'logins',
    about: 'Three logins log in and out without a pause',
    placements: EVERYWHERE,
    sessions: 8,
    pauseMs: 10,
    async act(raid) {
      await raid.run('select 1')
      raid.leave()
    },
  },
  {
    name: 'notify-queue',
    about: 'Listens in a transaction that stays open, and notifies until the queue of the server is full',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      if (raid.number === 0) {
        await raid.run('listen siege')
        await raid.run('begin; select 1')
        await raid.hold()
      } else await raid.attempt(SAY)
    },
    find: queueUse,
  },
  {
    name: 'notify-queue-unread',
    about: 'Listens without reading what it is told, and notifies until the queue of the server is full',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      if (raid.number === 0) await raid.deaf('listen siege')
      else await raid.attempt(SAY)
    },
    find: queueUse,
  },
  {
    name: 'many-channels',
    about: 'As many sessions as it gets listen on 2,000 channels each',
    placements: EVERYWHERE,
    sessions: 'all',
    async act(raid) {
      await patient(raid)
      await raid.attempt(`do $$ begin for i in 1..2000 loop execute 'listen siege_' || i; end loop; end $$`)
      await raid.attempt(SAY)
      await raid.hold()
    },
  },
  {
    name: 'errors',
    about: "Fills the server's log with errors and warnings",
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await patient(raid)
      await raid.run('set client_min_messages = error')
      await raid.attempt(
        `do $$ begin for i in 1..500 loop raise warning 'siege %', repeat('x', 500); end loop; end $$`,
      )
      await raid.attempt('select 1 / 0')
    },
  },
  {
    name: 'own-sessions-ended',
    about: 'Ends all other sessions of its own login, those of the service too, without a pause',
    placements: EVERYWHERE,
    sessions: 1,
    async act(raid) {
      await patient(raid)
      await raid.attempt(`select pg_terminate_backend(pid) from pg_stat_activity
        where usename = current_user and pid <> pg_backend_pid()`)
      await raid.hold(50)
    },
  },
  {
    name: 'serializable',
    about: 'Reads and writes in serializable transactions that conflict and stay open',
    placements: EVERYWHERE,
    sessions: 8,
    async act(raid) {
      await begin(raid)
      await raid.run(`rollback; begin isolation level serializable; set transaction read write;
        select count(*) from users; insert into users (first_name, last_name) values ('Siege', 'Siege')`)
      await raid.hold(1_000)
      await raid.attempt('commit')
    },
  },
  {
    name: 'subtransactions',
    about: 'Keeps a transaction with more subtransactions open than a snapshot can list',
    placements: EVERYWHERE,
    sessions: 2,
    async act(raid) {
      await begin(raid)
      for (let savepoint = 1; savepoint <= 100; savepoint++) {
        await raid.run(`savepoint s${savepoint};
          insert into users (first_name, last_name) values ('Siege', 'Siege')`)
      }
      await raid.hold()
    },
  },
]

async function queueUse({ run }: { run(text: string): Promise<readonly (readonly (string | null)[])[]> }) {
  const [row] = await run('select (100 * pg_notification_queue_usage())::integer')
  return { text: `queue ${row?.[0]} % full`, holds: true }
}
