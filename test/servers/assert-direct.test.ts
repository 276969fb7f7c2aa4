import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { LessorError } from '../../src/errors.ts'
import { assertDirect } from '../../src/servers/assert-direct.ts'
import { testDatabase } from '../support/database.ts'
import { excludes } from '../support/like.ts'
import { Pooler, type PoolerOptions } from '../support/pooler.ts'

const { url } = await testDatabase(t)

/** What an address is refused with; undefined when it is not. */
async function refusal(url: string): Promise<LessorError | undefined> {
  const options = {
    address: parseDatabaseUrl(url),
    what: 'The URL',
    unavailable: 'SERVER_UNAVAILABLE',
  } as const
  try {
    await assertDirect(options)
    return undefined
  } catch (error) {
    if (error instanceof LessorError) return error
    throw error
  }
}

function sentence(evidence: string): string {
  return (
    `The URL leads to a connection pooler such as PgBouncer, and not to PostgreSQL itself: ${evidence}. Lessor pools ` +
    'connections itself and binds sessions to tenants, so no other pooler may stand between. Give the address of the ' +
    'server itself.'
  )
}

t.test('the server itself is taken for what it is, again and again', async (t) => {
  for (let i = 0; i < 5; i++) t.equal(await refusal(url), undefined)
})

/** Each pooler, and what gives it away. */
const POOLERS: readonly (readonly [name: string, options: PoolerOptions, evidence: string])[] = [
  ...(['session', 'transaction', 'statement'] as const).flatMap((mode) => [
    [
      `${mode} pooling that refuses settings`,
      { mode, startup: 'refuse' },
      'the login is refused (unsupported startup parameter: lessor.login)',
    ] as const,
    [
      `${mode} pooling that leaves settings out`,
      { mode, startup: 'ignore' },
      'a setting of the start-up packet does not reach the session',
    ] as const,
  ]),
  [
    'session pooling that sets them again',
    { mode: 'session', startup: 'replay' },
    'a new session has the backend of one that was closed',
  ],
  [
    'transaction pooling that sets them again',
    { mode: 'transaction', startup: 'replay' },
    'two sessions that are open at once have one backend',
  ],
  [
    'statement pooling that sets them again',
    { mode: 'statement', startup: 'replay' },
    'two sessions that are open at once have one backend',
  ],
]

for (const [name, options, evidence] of POOLERS) {
  t.test(`${name} is found out`, async (t) => {
    const pooler = await Pooler.start(t, url, options)
    const error = await refusal(pooler.url(url))
    t.equal(error?.code, 'SERVER_UNSUITABLE')
    t.equal(error?.message, sentence(evidence))
  })
}

t.test('a pooler whose sessions go from backend to backend is found out', async (t) => {
  const pooler = await Pooler.start(t, url, { mode: 'transaction', startup: 'replay', rotates: true })
  const error = await refusal(pooler.url(url))
  t.equal(
    error?.message,
    sentence('a session does not keep its backend and its settings from one statement to the next'),
  )
  t.ok(pooler.backends > 1)
})

t.test('a statement that was prepared elsewhere is a pooler, any other failure is none', async (t) => {
  const failing = (code: string, message: string) =>
    Pooler.start(t, url, { mode: 'session', startup: 'ignore', failure: { code, message } })
  const strange = await failing('26000', 'prepared statement "s1" does not exist')
  t.equal(
    (await refusal(strange.url(url)))?.message,
    sentence('a session loses what it has prepared (prepared statement "s1" does not exist)'),
  )
  const cancelled = await failing('57014', 'canceling statement due to statement timeout')
  const error = await refusal(cancelled.url(url))
  t.equal(error?.code, 'SERVER_UNAVAILABLE')
  t.equal(
    error?.cause instanceof Error && error.cause.message,
    'canceling statement due to statement timeout',
  )
})

t.test('a server that is away is no pooler', async (t) => {
  const error = await refusal('postgres://me:hunter2@127.0.0.1:1/data')
  t.equal(error?.code, 'SERVER_UNAVAILABLE')
  t.equal(error?.retryAfterSeconds, 1)
  excludes(t, JSON.stringify([error, error?.message]), /hunter2/)
})
