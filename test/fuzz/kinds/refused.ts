import { ident, sql } from '../../../src/pool/statement.ts'
import type { Kind } from '../kind.ts'
import { callers, either, lessor, mine, ownWords, refused, sqlState, text } from '../question.ts'

/**
 * SQLSTATEs that a tenant's own function may raise. Some of them mean to the engine, or to its driver, that a plan is
 * stale, that the connection is gone, or that the statement was cancelled.
 */
const RAISED = ['P0001', 'FZ001', '40001', '0A000', '26000', '34000', '25P02', '08006', '53300', '42P01']
const LOSS = ['57P01', '57P02', '57P03', '25P03']

/** REFUSED are statements that the server refuses; each must hear its own error. */
export const REFUSED: readonly Kind[] = [
  {
    name: 'syntax error',
    weight: 2,
    make: ({ nonce }) => ({
      statement: sql`select ${nonce}::int as nonce frm markers m wher`,
      error: sqlState(['42601']),
    }),
  },
  {
    name: 'unknown table',
    weight: 2,
    make: ({ nonce }) => ({
      statement: sql`select ${nonce}::int as nonce from ${ident(`missing_${nonce}`)}`,
      error: sqlState(['42P01'], `missing_${nonce}`),
    }),
  },
  {
    name: 'unknown column',
    weight: 2,
    make: (asking) => ({
      statement: sql`select ${ident(`missing_${asking.nonce}`)}, ${mine(asking)} from markers m`,
      error: sqlState(['42703'], `missing_${asking.nonce}`),
    }),
  },
  {
    name: 'unknown function',
    weight: 1,
    make: ({ nonce }) => ({
      statement: sql`select ${ident(`missing_${nonce}`)}(${nonce}::int)`,
      error: sqlState(['42883'], `missing_${nonce}`),
    }),
  },
  {
    name: 'text that is no number',
    weight: 3,
    make: (asking) => ({
      statement: sql`select ${`no number ${asking.nonce}`}::text::int, ${mine(asking)} from markers m`,
      error: sqlState(['22P02'], `no number ${asking.nonce}"`),
    }),
  },
  {
    name: 'division by zero',
    weight: 3,
    make: (asking) => ({
      statement: sql`select 1 / ${0}::int as never, ${mine(asking)} from markers m`,
      error: sqlState(['22012']),
    }),
  },
  {
    name: 'division by zero after some rows',
    weight: 3,
    make: (asking) => ({
      statement: sql`
        select 1 / (${asking.random.below(60)}::int - i) as part, ${mine(asking)}
        from markers m, generate_series(0, 60) i`,
      error: sqlState(['22012']),
    }),
  },
  {
    name: 'division by zero after many rows',
    weight: 1,
    make: (asking) => ({
      statement: sql`
        select 1 / (3000 - i) as part, ${mine(asking)} from markers m, generate_series(0, 3000) i`,
      error: sqlState(['22012']),
    }),
  },
  {
    name: 'own exception',
    weight: 6,
    make: (asking) => {
      const state = asking.random.pick(RAISED)
      return {
        statement: sql`select raise_own(${asking.nonce}::int, ${state}::text), ${mine(asking)} from markers m`,
        error: sqlState([state], ownWords(asking.nonce)),
      }
    },
  },
  {
    name: 'own exception that sounds like a lost connection',
    weight: 1,
    make: (asking) => {
      const state = asking.random.pick(LOSS)
      return {
        statement: sql`select raise_own(${asking.nonce}::int, ${state}::text), ${mine(asking)} from markers m`,
        error: either(sqlState([state], ownWords(asking.nonce)), lessor('CONNECTION_LOST')),
      }
    },
    // The engine cannot tell it from an end of the session.
    beside: { any: ['CONNECTION_LOST'] },
  },
  {
    name: 'own exception after a write',
    weight: 1,
    make: (asking) => ({
      statement: sql`
        with written as (insert into kept (id, marker) values (${asking.nonce}::int, 'x') returning id)
        select raise_own(id, ${asking.random.pick(['0A000', '26000'])}::text) from written`,
      error: (error) =>
        sqlState(['0A000'], ownWords(asking.nonce))(error) ||
        sqlState(['26000'], ownWords(asking.nonce))(error),
    }),
  },
  {
    name: 'duplicate key',
    weight: 2,
    make: ({ nonce }) => ({
      statement: sql`insert into kept (id, marker) select ${-nonce}::int, 'twice' from generate_series(1, 2)`,
      error: sqlState(['23505']),
    }),
  },
  {
    name: 'null where none may be',
    weight: 1,
    make: ({ nonce }) => ({
      statement: sql`insert into kept (id, marker) values (${-nonce}::int, ${null}::text)`,
      error: sqlState(['23502']),
    }),
  },
  {
    name: 'row for a stranger',
    weight: 2,
    make: ({ nonce, stranger }) => ({
      statement: sql`insert into kept (tenant_id, id, marker) values (${stranger.id}::uuid, ${-nonce}::int, 'x')`,
      error: sqlState(['42501']),
    }),
  },
  {
    name: 'truncate without the right',
    weight: 1,
    make: () => ({ statement: text('truncate markers'), error: sqlState(['42501']) }),
  },
  {
    name: 'wrong type in an insert',
    weight: 1,
    make: ({ nonce }) => ({
      statement: sql`insert into kept (id, marker) values (${String(nonce)}::text, 'x')`,
      error: sqlState(['42804']),
    }),
  },
  {
    name: 'too many columns',
    weight: 0.2,
    make: (asking) => ({ statement: tooMany, error: either(sqlState(['54011']), callers(asking)) }),
  },
  {
    name: 'several statements',
    weight: 2,
    make: (asking) => ({
      statement: text(
        asking.random.pick([
          'select 1; select 2',
          'select 1; drop table markers',
          ';select 1;;commit;select 2',
        ]),
      ),
      error: either(sqlState(['42601']), callers(asking), refused(/statements|commit|transaction/i)),
    }),
  },
  {
    name: 'value too large for the server',
    weight: 0.5,
    make: (asking) => ({
      statement: sql`select repeat('x', 1100000000) as value, ${mine(asking)} from markers m`,
      error: sqlState(['54000', 'XX000', '53200']),
    }),
  },
]

const tooMany = text(`select ${Array.from({ length: 1_700 }, (_, i) => `${i} as c${i}`).join(', ')}`)
