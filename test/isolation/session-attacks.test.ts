import t from 'tap'
import { holds } from '../../src/isolation/expectation.ts'
import { sessionAttacks } from '../../src/isolation/session-attacks.ts'

const MEMBERLESS = 'pg_database_owner'
const OTHER = 'pg_read_all_data'
/** What `grant pg_database_owner to …` is refused with by 15, by 16 and 17, and by 18. */
const REFUSALS = ['42501', 'XX000', '0A000']

const attacks = sessionAttacks({
  user: 'tb_1',
  mayBecome: new Set(),
  roles: [MEMBERLESS, OTHER, 'tb_1'],
  otherPid: 1,
  isRevoked: true,
  hasOwnTables: false,
})

t.test('the role that never has members is refused as each major version words it', async (t) => {
  const [grant, ...others] = attacks.filter(
    ({ object, name }) => object === `role ${MEMBERLESS}` && name === 'grant to itself',
  )
  t.equal(grant?.text, `grant "${MEMBERLESS}" to "tb_1"`)
  t.strictSame(others, [])
  t.strictSame(
    REFUSALS.map(
      (code) => grant && holds(grant.expect, { kind: 'refused', code, message: 'cannot have members' }, []),
    ),
    [true, true, true],
  )
  t.equal(grant && holds(grant.expect, { kind: 'done', count: 0, rows: [] }, []), false)
})

t.test('an internal error is a refusal of nothing else', async (t) => {
  const taken = attacks.filter(({ expect }) =>
    holds(expect, { kind: 'refused', code: 'XX000', message: 'tuple concurrently updated' }, []),
  )
  t.strictSame(
    taken.map(({ object, name }) => `${object}: ${name}`),
    [`role ${MEMBERLESS}: grant to itself`],
  )
  t.ok(attacks.some(({ object, name }) => object === `role ${OTHER}` && name === 'grant to itself'))
})

t.test('what only a superuser may revoke is tried where one has revoked it', async (t) => {
  const tried = (isRevoked: boolean, hasOwnTables: boolean) =>
    sessionAttacks({ user: 'tb_1', mayBecome: new Set(), roles: [], otherPid: 1, isRevoked, hasOwnTables })
      .map(({ name }) => name)
      .filter((name) => /advisory|log of the cluster|files$|large object/.test(name))
  const everywhere = ['write to the log of the cluster', 'make files']
  t.strictSame(tried(true, false), [
    ...everywhere,
    'take an advisory lock',
    'take an advisory lock for the transaction',
    'give back advisory locks',
    'make a large object',
    'make a large object of bytes',
  ])
  t.strictSame(tried(true, true), everywhere)
  t.strictSame(tried(false, false), [])
})
