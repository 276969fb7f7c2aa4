import { randomUUID } from 'node:crypto'
import type { DatabaseAddress } from '../control/database-url.ts'
import { Lane } from '../control/lane.ts'
import { type ErrorCode, LessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'
import { sql } from '../pool/statement.ts'

export interface DirectOptions {
  readonly address: DatabaseAddress
  /** What leads there, as in `The URL`. */
  readonly what: string
  /** Code of the LessorError that stands for a server that cannot be reached. */
  readonly unavailable: ErrorCode
  readonly connectTimeoutMs?: number
}

/** Sent in the start-up packet; as `rls.tenant_id` does, it has to reach the session. */
const LOGIN = 'lessor.login'
const CONNECT_TIMEOUT_MS = 5_000
/** How often two sessions take turns. */
const ROUNDS = 3
/** protocol_violation: poolers refuse settings of the start-up packet with it, PostgreSQL takes any. */
const PROTOCOL_VIOLATION = '08P01'
/** invalid_sql_statement_name, duplicate_prepared_statement: a statement was prepared on another backend. */
const STRANGE_STATEMENT = new Set(['26000', '42P05'])

/**
 * assertDirect refuses an address behind which a connection pooler stands, found out by what a session of the server
 * itself always does: it has the settings of its own start-up packet, a backend of its own, and both until it ends.
 * @throws LessorError SERVER_UNSUITABLE that says what was found and what would be right, or `unavailable` with the
 *   server's or the socket's error as its cause
 */
export async function assertDirect({ what, unavailable, ...options }: DirectOptions): Promise<void> {
  const evidence = await findPooler(options).catch((cause: unknown) => {
    throw new LessorError(unavailable, undefined, { cause, retryAfterSeconds: 1 })
  })
  if (evidence === undefined) return
  throw new LessorError(
    'SERVER_UNSUITABLE',
    `${what} leads to a connection pooler such as PgBouncer, and not to PostgreSQL itself: ${evidence}. Lessor pools ` +
      'connections itself and binds sessions to tenants, so no other pooler may stand between. Give the address of ' +
      'the server itself.',
  )
}

type Reach = Pick<DirectOptions, 'address' | 'connectTimeoutMs'>

/** Resolves with what shows it; undefined where nothing does. @throws what Lane.open throws */
async function findPooler(reach: Reach): Promise<string | undefined> {
  try {
    return await tryOut(reach)
  } catch (error) {
    if (error instanceof Pooled) return error.message
    const code = errorCode(error) ?? ''
    if (code === PROTOCOL_VIOLATION) return `the login is refused (${messageOf(error)})`
    if (STRANGE_STATEMENT.has(code)) return `a session loses what it has prepared (${messageOf(error)})`
    throw error
  }
}

/** @throws Pooled */
async function tryOut(reach: Reach): Promise<undefined> {
  const first = await Session.open(reach)
  try {
    const second = await Session.open(reach)
    try {
      if (first.pid === second.pid) throw new Pooled('two sessions that are open at once have one backend')
      for (let round = 0; round < ROUNDS; round++) for (const each of [first, second]) await each.assertSame()
      await first.close()
      const third = await Session.open(reach)
      await third.close()
      if (third.pid === first.pid) throw new Pooled('a new session has the backend of one that was closed')
    } finally {
      await second.close()
    }
  } finally {
    await first.close()
  }
}

/** Pooled is what shows that a pooler stands between. */
class Pooled extends Error {
  override readonly name = 'Pooled'
}

interface Facts {
  readonly pid: number
  /** What the session has of the start-up packet. */
  readonly login: string | null
  /** What was set in the session afterwards. */
  readonly session: string | null
}

/** Session is a login that knows what it must find in its session. */
class Session {
  readonly pid: number
  readonly #lane: Lane
  readonly #nonce: string

  /** open logs in, and sets something for the session. @throws Pooled; what Lane.open throws */
  static async open({ address, connectTimeoutMs = CONNECT_TIMEOUT_MS }: Reach): Promise<Session> {
    const nonce = randomUUID()
    const lane = await Lane.open(
      {
        ...address,
        server: 'lessor admin',
        parameters: { application_name: 'lessor admin', [LOGIN]: nonce },
      },
      { connectTimeoutMs, patienceMs: connectTimeoutMs },
    )
    try {
      const { login, pid } = await factsOf(lane)
      if (login !== nonce) throw new Pooled('a setting of the start-up packet does not reach the session')
      await lane.send(sql`select set_config('lessor.session', ${nonce}, false)`)
      return new Session(lane, nonce, pid)
    } catch (error) {
      await lane.close()
      throw error
    }
  }

  private constructor(lane: Lane, nonce: string, pid: number) {
    this.#lane = lane
    this.#nonce = nonce
    this.pid = pid
  }

  /** @throws Pooled */
  async assertSame(): Promise<void> {
    const { pid, login, session } = await factsOf(this.#lane)
    if (pid === this.pid && login === this.#nonce && session === this.#nonce) return
    throw new Pooled('a session does not keep its backend and its settings from one statement to the next')
  }

  /** Never rejects. */
  close(): Promise<void> {
    return this.#lane.close()
  }
}

async function factsOf(lane: Lane): Promise<Facts> {
  const [row] = (await lane.send(sql`
    select pg_backend_pid() as pid, current_setting(${LOGIN}, true) as login,
      current_setting('lessor.session', true) as session`)) as readonly Facts[]
  if (row === undefined) throw new Error('bug: a select without a table has one row')
  return row
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
