import { type Statement, sql } from '../../../src/pool/statement.ts'
import type { Kind } from '../kind.ts'
import {
  type Asking,
  callers,
  differs,
  exactly,
  lessor,
  many,
  mine,
  own,
  type Question,
  refused,
  text,
} from '../question.ts'

const ODD_NAMES = [
  'then',
  'constructor',
  'hasOwnProperty',
  'length',
  'toString',
  'é☃',
  'a b',
  'a"b',
  'select',
]

const WIDE = Array.from({ length: 1_590 }, (_, i) => `c${i}`)
const wide = fragment(WIDE.map((name, i) => `${i} as ${name}`).join(', '))

/** ANSWERS are statements whose right answer is odd. */
export const ANSWERS: readonly Kind[] = [
  {
    name: 'a column by each odd name',
    weight: 2,
    make: (asking) => ({
      statement: sql`select ${oddNames}, ${mine(asking)} from markers m`,
      answer: exactly([{ ...Object.fromEntries(ODD_NAMES.map((name, i) => [name, i])), ...own(asking) }]),
    }),
  },
  {
    name: 'a column __proto__',
    weight: 2,
    make: (asking) => ({
      statement: sql`select ${'x'}::text as "__proto__", ${mine(asking)} from markers m`,
      answer: hasOwnProto('x', asking),
      error: callers(asking),
    }),
  },
  {
    name: 'JSON in a column __proto__',
    weight: 2,
    make: (asking) => ({
      statement: sql`select '{"polluted": true}'::jsonb as "__proto__", ${mine(asking)} from markers m`,
      answer: hasOwnProto({ polluted: true }, asking),
      error: callers(asking),
    }),
  },
  {
    name: 'two columns of one name',
    weight: 2,
    make: (asking) => ({
      statement: sql`select 'first' as value, 'last' as value, ${mine(asking)} from markers m`,
      answer: exactly([{ value: 'last', ...own(asking) }]),
      error: callers(asking),
    }),
  },
  {
    name: '1,594 columns',
    weight: 0.3,
    make: (asking) => {
      const count = asking.random.below(4)
      const row = Object.fromEntries(WIDE.map((name, i) => [name, i]))
      return {
        statement: sql`select ${wide}, ${mine(asking)} from markers m, generate_series(1, ${count}::int)`,
        answer: many(count, () => ({ ...row, ...own(asking) })),
      }
    },
  },
  {
    name: 'null in an array',
    weight: 2,
    make: (asking) => arrayQuestion(sql`array['a', null, 'NULL']`, [['a', null, 'NULL']], asking),
  },
  {
    name: 'array of two dimensions',
    weight: 2,
    make: (asking) =>
      arrayQuestion(
        sql`array[['a', 'b'], ['c', 'd']]`,
        [
          [
            ['a', 'b'],
            ['c', 'd'],
          ],
        ],
        asking,
      ),
  },
  {
    name: 'array with a lower bound',
    weight: 2,
    make: (asking) => arrayQuestion(sql`'[5:6]={a,b}'::text[]`, [['a', 'b']], asking),
  },
  {
    name: 'empty array, and one with an empty text',
    weight: 2,
    make: (asking) => arrayQuestion(sql`array['']::text[]`, [['']], asking),
  },
  {
    name: 'array of numbers',
    weight: 2,
    make: (asking) => arrayQuestion(sql`array[1, 2, null]`, [[1, 2, null], '{1,2,NULL}'], asking),
  },
  {
    name: 'composite and range as text',
    weight: 1,
    make: (asking) => ({
      statement: sql`select row(1, 'a,b')::text as composite, int4range(1, 5)::text as range, ${mine(asking)} from markers m`,
      answer: exactly([{ composite: '(1,"a,b")', range: '[1,5)', ...own(asking) }]),
    }),
  },
  {
    name: 'notices',
    weight: 3,
    make: (asking) => {
      const said = asking.random.below(5)
      return {
        statement: sql`select notice_often(${said}::int) as said, ${mine(asking)} from markers m`,
        answer: exactly([{ said, ...own(asking) }]),
      }
    },
  },
  {
    name: 'a flood of notices',
    weight: 0.2,
    make: (asking) => ({
      statement: sql`select notice_often(5000) as said, ${mine(asking)} from markers m`,
      answer: exactly([{ said: 5_000, ...own(asking) }]),
    }),
  },
  {
    name: 'call of a procedure',
    weight: 1,
    make: ({ nonce }) => ({ statement: sql`call say_something(${nonce}::int)`, answer: exactly([]) }),
  },
  {
    name: 'nothing at all',
    weight: 3,
    make: (asking) => ({
      statement: text(
        asking.random.pick(['', ' ', ';', '-- only a comment', '/* only a comment */', '\n;\n']),
      ),
      error: refused(/^The statement is empty/),
    }),
  },
  {
    name: 'plan',
    weight: 1,
    make: ({ nonce }) => ({
      statement: sql`explain (costs off) select ${nonce}::int from markers`,
      answer: (rows) =>
        rows.length > 0 && rows.every((row) => Object.keys(row).join() === 'QUERY PLAN')
          ? undefined
          : `no plan: ${JSON.stringify(rows.slice(0, 3))}`,
    }),
  },
  {
    name: 'show',
    weight: 1,
    make: () => ({
      statement: text('show server_encoding'),
      answer: exactly([{ server_encoding: 'UTF8' }]),
    }),
  },
]

/** HUGE are answers of up to some 40 MB; the engine may bound them, and drop the connection with them. */
export const HUGE: readonly Kind[] = [
  {
    name: 'many rows',
    weight: 1,
    isHeavy: true,
    beside: { any: ['CONNECTION_LOST'] },
    make: (asking) => {
      const count = asking.random.pick([20_000, 100_000])
      return {
        statement: sql`
          select i, repeat('y', 100) as filler, ${mine(asking)} from markers m, generate_series(1, ${count}::int) i`,
        answer: many(count, (i) => ({ i: i + 1, filler: 'y'.repeat(100), ...own(asking) })),
        error: lessor('RESULT_TOO_LARGE'),
      }
    },
  },
  {
    name: 'one huge value',
    weight: 1,
    isHeavy: true,
    beside: { any: ['CONNECTION_LOST'] },
    make: (asking) => {
      const length = asking.random.pick([1, 10, 40]) * 1_000_000
      return {
        statement: sql`select repeat('z', ${length}::int) as value, ${mine(asking)} from markers m`,
        answer: (rows) => {
          const [row] = rows as readonly { value?: unknown }[]
          const value = row?.value
          if (typeof value !== 'string' || value.length !== length) return `no text of ${length} letters`
          return rows.length === 1 ? differs(row, { value, ...own(asking) }) : `${rows.length} rows`
        },
        error: lessor('RESULT_TOO_LARGE'),
      }
    },
  },
  {
    name: 'large text there and back',
    weight: 1,
    isHeavy: true,
    make: (asking) => {
      const value = `é${asking.nonce}`.repeat(200_000)
      return {
        statement: sql`select ${value}::text as value, ${mine(asking)} from markers m`,
        answer: exactly([{ value, ...own(asking) }]),
        error: callers(asking),
      }
    },
  },
]

const oddNames = fragment(ODD_NAMES.map((name, i) => `${i} as "${name.replaceAll('"', '""')}"`).join(', '))

function fragment(part: string): Statement {
  return text(part)
}

function hasOwnProto(value: unknown, asking: Asking): NonNullable<Question['answer']> {
  return (rows) => {
    const [row] = rows
    if (rows.length !== 1 || row === undefined) return `${rows.length} rows`
    if (!Object.hasOwn(row, '__proto__')) {
      const through = Object.keys(Object.getPrototypeOf(row) ?? {})
      return `the column is missing; the row inherits ${through.length === 0 ? 'nothing' : through}`
    }
    const names = Object.keys(row).filter((name) => name !== '__proto__')
    const others = Object.fromEntries(names.map((name) => [name, (row as Record<string, unknown>)[name]]))
    const found = Object.getOwnPropertyDescriptor(row, '__proto__')?.value
    if (JSON.stringify(found) !== JSON.stringify(value)) return `the column is ${JSON.stringify(found)}`
    return differs(others, own(asking))
  }
}

/** An array comes back as one of `values`, or not at all: never as something else. */
function arrayQuestion(array: Statement, values: readonly unknown[], asking: Asking): Question {
  return {
    statement: sql`select ${array} as value, ${mine(asking)} from markers m`,
    answer: (rows) => {
      const wrongs = values.map((value) => exactly([{ value, ...own(asking) }])(rows))
      return wrongs.includes(undefined) ? undefined : wrongs[0]
    },
    error: callers(asking),
  }
}
