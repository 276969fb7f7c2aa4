import t from 'tap'
import { statementOf } from '../../src/isolation/session.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { ident, type Param, type Statement, sql } from '../../src/pool/statement.ts'
import { kindOf, refusal, type StatementKind } from '../../src/pool/statement-kind.ts'
import { testDatabase } from '../support/database.ts'
import { targetOf } from '../support/target.ts'

/** What ends a transaction, written in every way that the server takes. */
const ENDS = [
  'commit',
  'COMMIT',
  'Commit;',
  'commit work',
  'commit transaction',
  'commit and chain',
  'commit and no chain;',
  'end',
  'End Transaction',
  'end work and chain',
  'rollback',
  'rollback work',
  'rollback transaction;',
  'rollback and chain',
  'rollback work and no chain',
  'abort',
  'abort transaction',
  ' \t\r\n\f commit',
  ';commit',
  ' ; ; commit ; ;',
  ';/* a */;-- b\n;commit',
  '-- a comment\ncommit',
  '-- a comment\rcommit',
  '--\ncommit',
  '-- /* no comment of that kind\ncommit',
  '/* a comment */commit',
  '/**/commit',
  '/***/commit',
  '/* a /* nested */ comment */ commit',
  '/* a /*/ nested */ comment */ commit',
  '/* -- */ commit',
  '/* /* a */ b */-- c\n/* d */\tcommit',
  'commit/* a */',
  'commit-- a',
  'rollback /* to */',
  'rollback -- to\n',
  'rollback/**/work',
] as const

const BEGINS = [
  'begin',
  'BEGIN ISOLATION LEVEL SERIALIZABLE',
  'begin;',
  'start transaction',
  'start /* a */ transaction read only',
  '/* a */ begin -- b',
] as const

const PREPARES = [
  "prepare transaction 'a'",
  "PREPARE/* a */TRANSACTION-- b\n'a'",
  "prepare transaction e'a'",
  "prepare transaction U&'a'",
  'prepare transaction $$a$$',
  'prepare transaction $a$a$a$',
  "commit prepared 'a'",
  "rollback prepared 'a'",
] as const

const COPIES = [
  'copy notes from stdin',
  'COPY notes (id, "from") FROM STDIN',
  'copy binary notes from stdin',
  'copy public.notes from/* a */stdin with (format csv)',
  'copy notes to stdout',
  'copy notes to stdin',
  'copy notes from stdout',
  'copy "to 1" to stdout;',
  "copy (select e'\\')' from notes where text = 'a) to ''b''') to stdout",
  "copy (select $a$) to 'file'$a$) to stdout",
  "copy (select 1 -- ) to 'file'\n) to stdout",
  'copy (select 1 from (select 2) stdin) to stdout (delimiter $$,$$)',
] as const

const PLAIN = [
  'select 1',
  '(select 1)',
  'values (1)',
  'with commit as (select 1) select * from commit',
  'table begin',
  '"commit"',
  "'commit'",
  '$1',
  'commits',
  'begin_',
  'commit$1',
  'endé',
  'savepoint a',
  'release a',
  'release savepoint a',
  'rollback to a',
  'ROLLBACK TO SAVEPOINT a',
  'rollback work to savepoint a',
  'rollback transaction to a',
  'rollback/* a */to-- b\na',
  'set transaction isolation level serializable',
  'set session characteristics as transaction read only',
  "set local lock_timeout = '1s'",
  'prepare a as select 1',
  'prepare transaction as select 1',
  'prepare transaction (int) as select $1',
  'prepare "transaction" as select 1',
  'do $$ begin perform 1; end $$',
  'explain select 1',
  "copy notes from '/tmp/file'",
  "copy (select 'to stdout' from stdin) to '/tmp/file'",
  "copy stdin to program 'cat'",
  'copy "from stdin" to $$file$$',
  'copy notes from',
  'copy',
  "copy notes ('",
  '-- a comment \n select 1',
  '/* commit */ select 1 /* commit */',
  '/* a /* commit */',
  '/* commit',
  '-',
  '/',
] as const

const EMPTY = ['', ' \n\t', ';', ' ; ;; ', '-- a comment', '-- a\n-- b\n', '/* a /* b */ */ ; -- c'] as const

const KINDS: readonly (readonly [StatementKind, readonly string[]])[] = [
  ['transaction', [...ENDS, ...BEGINS, ...PREPARES]],
  ['copy', COPIES],
  ['plain', PLAIN],
  ['empty', EMPTY],
]

t.test('a statement is known by its first words, as the server reads them', async (t) => {
  for (const [kind, texts] of KINDS) {
    for (const text of texts) t.equal(kindOf(statementOf(text)), kind, JSON.stringify(text))
  }
})

t.test(
  'what the server takes for the end of a transaction is known, and nothing else is taken for one',
  async (t) => {
    const { url } = await testDatabase(t)
    /** Whether a transaction is over once `text` was sent in it: then its connection is dropped. */
    const ends = async (text: string) => {
      const connection = await openConnection(targetOf(url), new AbortController().signal)
      await connection.command('begin').result
      await connection.run(statementOf("set local lessor.mark = 'here'")).result
      await connection.run(statementOf(text)).result.catch(() => {})
      // One that goes on in a chain has lost what was set in the first.
      const [mark] = connection.isUsable
        ? await connection
            .run(statementOf("select current_setting('lessor.mark', true) as mark"))
            .result.catch(() => [{ mark: 'here' }])
        : []
      connection.destroy()
      await connection.lost
      return (mark as { readonly mark: string } | undefined)?.mark !== 'here'
    }
    for (const text of ENDS) t.ok(await ends(text), JSON.stringify(text))
    for (const text of [...PLAIN, ...EMPTY]) t.notOk(await ends(text), JSON.stringify(text))
  },
)

t.test('fragments and values are read where they stand', async (t) => {
  const commit = sql`commit`
  const part = sql`mit`
  const comment = sql`/* `
  const where = sql`where true`
  const cases: readonly (readonly [StatementKind, Statement])[] = [
    ['transaction', sql`${commit}`],
    [
      'transaction',
      sql`${sql`${sql` -- a
      `}${commit}`} work`,
    ],
    ['transaction', sql`com${part}`],
    ['transaction', sql`${sql`com`}mit`],
    ['transaction', sql`${sql``}${sql`;`}${commit}`],
    ['transaction', sql`/${sql`* a */ `}commit`],
    [
      'transaction',
      sql`-${sql`- a`}
      commit`,
    ],
    ['transaction', sql`/* ${1} */ commit`],
    [
      'transaction',
      sql`-- ${sql`a
      commit`}`,
    ],
    ['transaction', sql`rollback ${sql``}`],
    ['copy', sql`copy ${ident('notes')} from ${sql`stdin`}`],
    ['empty', sql`${sql``}`],
    ['empty', sql`${comment}*/`],
    ['plain', sql`rollback ${sql`to`} ${ident('a')}`],
    ['plain', sql`${sql`select`} 1`],
    ['plain', sql`${sql`select 1`} ${where}`],
    ['plain', sql`commit${1}`],
    ['plain', sql`${'commit'}`],
    ['plain', sql`${ident('commit')}`],
    ['plain', sql`select ${commit}`],
  ]
  for (const [kind, statement] of cases) t.equal(kindOf(statement), kind, JSON.stringify(statement))
})

t.test(
  'one template with other fragments in it is another statement, in whatever order they come',
  async (t) => {
    const outer = (first: Statement | Param) => sql`${first} work`
    const inner = (rest: Statement) => sql`co${rest}`
    for (let round = 0; round < 2; round++) {
      t.equal(kindOf(outer(sql`select 1 as`)), 'plain')
      t.equal(kindOf(outer(sql`commit`)), 'transaction')
      t.equal(kindOf(outer('commit')), 'plain')
      t.equal(kindOf(inner(sql`mmit`)), 'transaction')
      t.equal(kindOf(inner(sql`py notes to stdout`)), 'copy')
      t.equal(kindOf(inner(sql`mment on table a is 'b'`)), 'plain')
    }
  },
)

t.test('a refusal says what to do instead', async (t) => {
  t.match(refusal(sql`commit`)?.message, /use db\.transaction\(\)/)
  t.match(refusal(sql`copy notes to stdout`)?.message, /use SELECT or INSERT/)
  t.equal(
    refusal(sql`-- nothing`)?.message,
    'The statement is empty: it has no SQL but white space and comments.',
  )
  t.equal(refusal(sql`select 1`), undefined)
})

t.test('a long statement is not read through', async (t) => {
  const nested = statementOf(`${'/*'.repeat(50_000)}${'*/'.repeat(50_000)} commit`)
  t.equal(kindOf(nested), 'transaction')
  t.equal(kindOf(statementOf(`copy (select '${'a'.repeat(1_000_000)}') to stdout`)), 'copy')
  t.equal(kindOf(statementOf(`copy (select ${'$'.repeat(20_000)}`)), 'plain')
})
