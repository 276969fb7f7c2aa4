import { ident, sql } from '../../../src/pool/statement.ts'
import type { Beside } from '../hazards.ts'
import type { Kind } from '../kind.ts'
import {
  type Asking,
  callers,
  either,
  exactly,
  mine,
  own,
  type Question,
  refused,
  sqlState,
  text,
} from '../question.ts'
import type { Scene } from '../scene.ts'

/** What a tenant may leave on a connection under a name that all of them know. */
const LEFT = [
  'prepare fuzz_left as select marker from markers',
  'declare fuzz_left cursor with hold for select marker from markers',
  'create temp table fuzz_left as select marker from markers',
] as const
/** It is there already (42P05, 42P03, 42P07), not allowed (42501), or only in a transaction (25P01). */
const NOT_LEFT = ['42P05', '42P03', '42P07', '42501', '25P01']
const LOOKS = [
  'execute fuzz_left',
  'fetch all from fuzz_left',
  'select marker from pg_temp.fuzz_left',
] as const
/** Nothing of that name, or no schema for it. */
const NOTHING_LEFT = ['26000', '34000', '42P01', '3F000', '42501']

/** What somebody listens to. */
const CHANNEL = 'fuzz_channel'

/** Where tenants share a database, advisory locks are not theirs: one could take another's. */
const NO_LOCKS = sqlState(['42501'])

/** SESSION are statements about the session itself. */
export const SESSION: readonly Kind[] = [
  {
    name: 'something left on the connection',
    weight: 2,
    make: (asking) => ({
      statement: text(asking.random.pick(LEFT)),
      answer: exactly([]),
      error: either(sqlState(NOT_LEFT), callers(asking)),
    }),
  },
  {
    name: 'something left by a transaction',
    weight: 2,
    play: (scene) =>
      scene.use((db) =>
        scene.transaction(
          db,
          async (tx) => {
            const question: Question = {
              statement: text(scene.random.pick(LEFT)),
              answer: exactly([]),
              error: either(sqlState(NOT_LEFT), callers(scene.asking())),
            }
            const outcome = await scene.ask(tx, question, { isInTransaction: true })
            if ('error' in outcome) throw outcome.error
            await scene.good(tx, { isInTransaction: true })
          },
          { words: IGNORED },
        ),
      ),
  },
  {
    name: 'a look for what others have left',
    weight: 4,
    make: (asking) => ({
      statement: text(asking.random.pick(LOOKS)),
      // Its own marker, or all rows of its cursor that are left.
      answer: (rows) =>
        rows.every((row) => (row as { marker?: unknown }).marker === asking.tenant.marker)
          ? undefined
          : `left by another: ${JSON.stringify(rows.slice(0, 2))}`,
      error: sqlState(NOTHING_LEFT),
    }),
  },
  {
    name: 'PREPARE and EXECUTE in a transaction',
    weight: 2,
    play: (scene) =>
      stepsInTransaction(scene, ({ nonce, tenant: { marker } }) => {
        const name = ident(`own_${nonce}`)
        return [
          {
            statement: sql`prepare ${name} (int) as select $1 as nonce, m.marker from markers m`,
            answer: exactly([]),
          },
          { statement: sql`execute ${name} (7)`, answer: exactly([{ nonce: 7, marker }]) },
          { statement: sql`deallocate ${name}`, answer: exactly([]) },
        ]
      }),
  },
  {
    name: 'cursor in a transaction',
    weight: 2,
    play: (scene) =>
      stepsInTransaction(scene, ({ nonce, tenant: { marker } }) => {
        const cursor = ident(`cursor_${nonce}`)
        const rows = (...numbers: number[]) => exactly(numbers.map((i) => ({ i, marker })))
        return [
          {
            statement: sql`declare ${cursor} cursor for select i, m.marker from markers m, generate_series(1, 5) i`,
            answer: exactly([]),
          },
          { statement: sql`fetch 2 from ${cursor}`, answer: rows(1, 2) },
          { statement: sql`move 1 from ${cursor}`, answer: exactly([]) },
          { statement: sql`fetch all from ${cursor}`, answer: rows(4, 5) },
        ]
      }),
  },
  {
    name: 'EXECUTE of one name for two plans',
    weight: 1,
    play: (scene) =>
      stepsInTransaction(scene, ({ nonce, tenant: { marker } }) => {
        const name = ident(`plan_${nonce}`)
        return [
          { statement: sql`prepare ${name} as select marker from markers`, answer: exactly([]) },
          { statement: sql`execute ${name}`, answer: exactly([{ marker }]) },
          { statement: sql`deallocate ${name}`, answer: exactly([]) },
          {
            statement: sql`prepare ${name} as select 7 as seven, marker as own from markers`,
            answer: exactly([]),
          },
          { statement: sql`execute ${name}`, answer: exactly([{ seven: 7, own: marker }]) },
          { statement: sql`deallocate ${name}`, answer: exactly([]) },
        ]
      }),
  },
  {
    name: 'FETCH by one name from two cursors',
    weight: 1,
    play: (scene) =>
      stepsInTransaction(scene, ({ nonce, tenant: { marker } }) => {
        const name = ident(`cursor_${nonce}`)
        return [
          { statement: sql`declare ${name} cursor for select marker from markers`, answer: exactly([]) },
          { statement: sql`fetch all from ${name}`, answer: exactly([{ marker }]) },
          { statement: sql`close ${name}`, answer: exactly([]) },
          {
            statement: sql`declare ${name} cursor for select 7 as seven, marker as own from markers`,
            answer: exactly([]),
          },
          { statement: sql`fetch all from ${name}`, answer: exactly([{ seven: 7, own: marker }]) },
        ]
      }),
  },
  {
    name: 'LISTEN',
    weight: 1,
    make: (asking) => ({ statement: text(`listen ${CHANNEL}`), answer: exactly([]), error: callers(asking) }),
  },
  {
    name: 'UNLISTEN',
    weight: 0.5,
    make: () => ({ statement: text('unlisten *'), answer: exactly([]) }),
  },
  {
    name: 'NOTIFY',
    weight: 3,
    make: (asking) => ({
      statement: sql`select pg_notify(${CHANNEL}, ${`for ${asking.nonce}`}), ${mine(asking)} from markers m`,
      answer: exactly([{ pg_notify: '', ...own(asking) }]),
    }),
  },
  {
    name: 'setting of the session',
    weight: 1,
    make: (asking) => ({
      statement: text(
        asking.random.pick([
          `set application_name = 'fuzz'`,
          `set lock_timeout = '7s'`,
          'reset lock_timeout',
        ]),
      ),
      answer: exactly([]),
    }),
  },
  {
    name: 'advisory lock of the session',
    weight: 1,
    make: (asking) => ({
      statement: sql`
        select pg_try_advisory_lock(${asking.nonce % 8}::int, 1) is not null as tried, ${mine(asking)} from markers m`,
      answer: exactly([{ tried: true, ...own(asking) }]),
      error: NO_LOCKS,
    }),
  },
  {
    name: 'advisory lock of the transaction',
    weight: 1,
    make: (asking) => ({
      statement: sql`
        select pg_try_advisory_xact_lock(${asking.nonce % 8}::int, 2) is not null as tried, ${mine(asking)} from markers m`,
      answer: exactly([{ tried: true, ...own(asking) }]),
      error: NO_LOCKS,
    }),
  },
  {
    name: 'advisory unlock',
    weight: 1,
    make: (asking) => ({
      statement: sql`select pg_advisory_unlock_all(), ${mine(asking)} from markers m`,
      answer: exactly([{ pg_advisory_unlock_all: '', ...own(asking) }]),
      error: NO_LOCKS,
    }),
  },
]

/** Asks one thing after the other in a transaction, which the first error ends. */
function stepsInTransaction(scene: Scene, steps: (asking: Asking) => readonly Question[]): Promise<void> {
  return scene.use((db) =>
    scene.transaction(
      db,
      async (tx) => {
        for (const step of steps(scene.asking())) {
          const outcome = await scene.ask(tx, step, { isInTransaction: true })
          if ('error' in outcome) throw outcome.error
        }
      },
      { words: IGNORED },
    ),
  )
}

/** What the end of a transaction says when a statement of it has failed. */
export const IGNORED = /rolled back: a statement in it failed/

const FORGOTTEN: Beside = {
  any: ['CONNECTION_LOST'],
  // The statement of an open transaction cannot be sent again: it has failed, and the transaction with it.
  inTransaction: ['26000', 'SCHEMA_CHANGED'],
}

function forget(words: string, asking: Asking): Question {
  return {
    statement: text(words),
    answer: exactly([]),
    error: either(callers(asking), sqlState(['25001']), refused(/deallocate|discard|reset/i)),
  }
}

/** DEALLOCATE takes away what the driver believes the session to have. */
export const DEALLOCATE: readonly Kind[] = [
  ...['deallocate all', 'discard all', 'discard plans', 'discard temp', 'reset all'].map((words) => ({
    name: words,
    weight: 1,
    beside: FORGOTTEN,
    // In a transaction `reset all` takes the binding away as well, where it is a setting.
    isPlain: true,
    make: (asking: Asking) => forget(words, asking),
  })),
  {
    name: 'deallocate all beneath a stream',
    weight: 2,
    beside: FORGOTTEN,
    play: async (scene) => {
      await scene.use(async (db) => {
        const streams = [scene.stream(db, 6), scene.stream(db, 2)]
        for (const words of ['deallocate all', 'discard all', 'deallocate all']) {
          await scene.ask(db, forget(words, scene.asking()))
        }
        await Promise.all(streams)
      })
    },
  },
  {
    name: 'deallocate of nothing',
    weight: 1,
    make: (asking) => ({
      statement: sql`deallocate ${ident(`none_${asking.nonce}`)}`,
      error: either(callers(asking), sqlState(['26000'], `none_${asking.nonce}`), refused(/deallocate/i)),
    }),
  },
]

/** COPY to and from the client, which this engine has no place for. */
export const COPY: readonly Kind[] = [
  'copy (select 1) to stdout',
  `copy (select repeat('x', 10000) from generate_series(1, 300)) to stdout`,
  'copy kept from stdin',
  '/* quietly */ copy (select marker from markers) to stdout',
  '-- quietly\n\tCoPy kept (id, marker) from stdin',
].map((words) => ({
  name: words.replace(/\s+/g, ' '),
  weight: 1,
  beside: { any: ['CONNECTION_LOST'] },
  make: () => ({ statement: text(words), error: refused(/copy/i) }),
}))

const SETTINGS: readonly (readonly [string, string])[] = [
  ['TimeZone', 'Asia/Tokyo'],
  ['search_path', 'pg_catalog'],
  ['statement_timeout', '1'],
  ['default_transaction_read_only', 'on'],
  ['client_encoding', 'LATIN1'],
  ['bytea_output', 'escape'],
  ['DateStyle', 'German'],
  ['role', 'none'],
]

/** SETTINGS_LEFT change the session by a function, which no command tag tells; the next tenant must not notice. */
export const SETTINGS_LEFT: readonly Kind[] = [
  {
    name: 'set_config for the session in a function',
    weight: 2,
    isForShared: true,
    // Who does that to himself may be answered accordingly, on the same connection.
    beside: { reach: 'tenant', unsound: true },
    make: (asking) => {
      const [name, value] = asking.random.pick(SETTINGS)
      return {
        statement: sql`select set_for_session(${name}, ${value}) is not null as done, ${mine(asking)} from markers m`,
        answer: (rows) => (rows.length === 1 ? undefined : `${rows.length} rows`),
        error: (error) => error instanceof Error,
      }
    },
  },
]
