import t from 'tap'
import { ident, sql } from '../../src/pool/statement.ts'
import { toScript } from '../../stress/bench/pgbench.ts'

t.test('parameters become variables, also those of fragments', async (t) => {
  const filter = sql`tenant_id = ${'a'}::uuid`
  const { text, variables } = toScript(sql`
    select 1 from users where ${filter}
    limit ${10}`)
  t.equal(text, 'select 1 from users where tenant_id = :p1::uuid limit :p2;\n')
  t.strictSame(variables, { p1: 'a', p2: '10' })
})

t.test('no part of a literal looks like a variable', async (t) => {
  const { text } = toScript(sql`select to_char(now(), 'HH24:MI:SS'), '{"id":"%s"}', 'a\\b:c'`)
  t.equal(text.trim(), String.raw`select to_char(now(), E'HH24\x3aMI\x3aSS'), '{"id":"%s"}', E'a\\b\x3ac';`)
})

t.test('what pgbench cannot say is refused', async (t) => {
  t.throws(() => toScript(sql`select ${null}`), TypeError)
  t.throws(() => toScript(sql`select ${ident('name')}`), TypeError)
})
