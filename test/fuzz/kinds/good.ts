import { sql } from '../../../src/pool/statement.ts'
import type { Kind } from '../kind.ts'
import { differs, exactly, many, mine, own } from '../question.ts'

const TEXTS = [
  '',
  ' ',
  'é☃ and 😀, in quotes: \'"',
  '\\ \n \r \t \u0001 \u2028 $1 $2 -- /* */ ;',
  'null',
  '{}',
]
const ITEMS = ['a', '', 'NULL', 'null', '{', '}', ',', '"', '\\', 'b,"c\\', ' ', 'é☃😀', '\n', "'"]

/** MOVING is the kind whose table DDL changes. */
export const MOVING = 'all columns of a table that others alter'

/** GOOD are statements that have a right answer, whatever runs beside them. */
export const GOOD: readonly Kind[] = [
  {
    name: 'own marker',
    weight: 30,
    make: (asking) => ({
      statement: sql`select ${mine(asking)} from markers m`,
      answer: exactly([own(asking)]),
    }),
  },
  {
    name: 'some rows',
    weight: 10,
    make: (asking) => {
      const count = asking.random.below(40)
      return {
        statement: sql`select i, ${mine(asking)} from markers m, generate_series(1, ${count}::int) i order by i`,
        answer: many(count, (i) => ({ i: i + 1, ...own(asking) })),
      }
    },
  },
  {
    name: 'text there and back',
    weight: 10,
    make: (asking) => {
      const value = asking.random.pick(TEXTS).repeat(asking.random.pick([1, 1, 3, 50, 1_000]))
      return {
        statement: sql`select ${value}::text as value, ${mine(asking)} from markers m`,
        answer: exactly([{ value, ...own(asking) }]),
      }
    },
  },
  {
    name: 'every type there and back',
    weight: 8,
    make: (asking) => {
      const { random, nonce } = asking
      const [whole, real, big] = [random.below(2 ** 31), random.next(), 2n ** 62n + BigInt(nonce)]
      const [flag, at] = [random.chance(0.5), new Date(random.below(2 ** 31) * 1000)]
      const bytes = Buffer.from([0, 255, 39, 92, nonce % 256])
      const json = { nonce, text: random.pick(TEXTS), list: [1, null, { __proto: 'x' }] }
      return {
        statement: sql`
          select ${whole}::int as whole, ${real}::float8 as real, ${big}::bigint as big, ${flag}::bool as flag,
            ${null}::text as nothing, ${at}::timestamptz as at, ${bytes}::bytea as bytes, ${json}::jsonb as json,
            ${mine(asking)}
          from markers m`,
        answer: exactly([
          { whole, real, big: String(big), flag, nothing: null, at, bytes, json, ...own(asking) },
        ]),
      }
    },
  },
  {
    name: 'text arrays there and back',
    weight: 6,
    make: (asking) => {
      const { random } = asking
      const items = Array.from({ length: random.below(6) }, () => random.pick(ITEMS))
      return {
        statement: sql`
          select ${items}::text[] as items, 'x' = any(${['x', ...items]}::text[]) as is_in, ${mine(asking)} from markers m`,
        answer: exactly([{ items, is_in: true, ...own(asking) }]),
      }
    },
  },
  {
    name: 'insert',
    weight: 6,
    make: (asking) => {
      const { nonce, tenant } = asking
      return {
        statement: sql`
          insert into kept (id, marker) select ${nonce}::int, m.marker from markers m
          returning id, marker, tenant_id::text as tenant`,
        answer: exactly([{ id: nonce, marker: tenant.marker, tenant: tenant.id }]),
      }
    },
  },
  {
    name: 'update of what is not there',
    weight: 3,
    make: ({ nonce }) => ({
      statement: sql`update kept set marker = 'changed' where id = ${-nonce}::int returning id`,
      answer: exactly([]),
    }),
  },
  {
    name: 'insert and delete in one',
    weight: 3,
    make: (asking) => {
      const { nonce, tenant } = asking
      return {
        statement: sql`
          with gone as (delete from kept where id = ${-nonce}::int returning id)
          select ${nonce}::int as nonce, count(gone.id)::int as gone, m.marker from markers m left join gone on true
          group by m.marker`,
        answer: exactly([{ nonce, gone: 0, marker: tenant.marker }]),
      }
    },
  },
  {
    name: MOVING,
    weight: 8,
    make: (asking) => {
      const { tenant, nonce } = asking
      const known = new Map<string, readonly unknown[]>([
        ['nonce', [nonce]],
        ['tenant_id', [tenant.id]],
        ['amount', [7, '7']],
        ['marker', [tenant.marker]],
      ])
      return {
        statement: sql`select ${nonce}::int as nonce, m.* from moving m`,
        answer: (rows) => {
          const [row] = rows as readonly Record<string, unknown>[]
          if (rows.length !== 1 || row === undefined) return differs(undefined, {})
          const missing = [...known.keys()].filter((name) => !Object.hasOwn(row, name))
          if (missing.length > 0) return `no ${missing}, but ${Object.keys(row)}`
          const odd = Object.entries(row).filter(([name, value]) =>
            /^extra_\d$/.test(name)
              ? value !== 'extra' && value !== null
              : !(known.get(name) ?? []).includes(value),
          )
          return odd.length === 0 ? undefined : `not its own: ${JSON.stringify(odd)}`
        },
      }
    },
  },
  {
    name: 'no columns',
    weight: 2,
    make: ({ nonce }) => ({
      statement: sql`select from markers, generate_series(1, ${nonce % 9}::int)`,
      answer: exactly(Array.from({ length: nonce % 9 }, () => ({}))),
    }),
  },
  {
    name: 'no rows',
    weight: 3,
    make: (asking) => ({
      statement: sql`select ${mine(asking)} from markers m where false`,
      answer: exactly([]),
    }),
  },
  {
    name: 'time zone',
    weight: 4,
    make: (asking) => ({
      statement: sql`select current_setting('TimeZone') as zone, ${mine(asking)} from markers m`,
      answer: exactly([{ zone: 'UTC', ...own(asking) }]),
    }),
  },
]
