import { ConnectionDb } from '../pool/connection-db.ts'
import type { Connect, Connection, ConnectionTarget, Rows } from '../pool/contract.ts'
import { errorCode } from '../pool/driver-errors.ts'
import { Statement } from '../pool/statement.ts'

/** Outcome is what a statement came to. */
export type Outcome =
  | { readonly kind: 'done'; readonly rows: readonly Record<string, unknown>[]; readonly count: number }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }

/** Session runs attacks, each in a transaction that is rolled back. */
export interface Session {
  /** attempt runs `text` after `before`, which must succeed, and takes all of it back. */
  attempt(before: readonly string[], text: string): Promise<Outcome>
  readonly db: ConnectionDb
  close(): Promise<void>
}

/** statementOf makes a Statement of text without parameters, for text that is made from a catalog. */
export function statementOf(text: string): Statement {
  return new Statement(Object.assign([text], { raw: [text] }), [])
}

/** openSession logs in for real. @throws what `connect` throws */
export async function openSession(
  connect: Connect,
  target: ConnectionTarget,
  timeoutMs: number,
): Promise<Session> {
  return new ConnectionSession(await connect(target, AbortSignal.timeout(timeoutMs)))
}

class ConnectionSession implements Session {
  readonly #connection: Connection
  readonly db: ConnectionDb

  constructor(connection: Connection) {
    this.#connection = connection
    this.db = new ConnectionDb(connection)
  }

  async attempt(before: readonly string[], text: string): Promise<Outcome> {
    const first = [this.db.command('begin'), ...before.map((each) => this.#run(each))]
    const tried = outcomeOf(() =>
      /^copy /.test(text) ? this.#connection.copy(text).result : this.#run(text),
    )
    const last = this.db.command('rollback')
    const [outcome] = await Promise.all([tried, last, ...first])
    return outcome
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }

  #run(text: string): Promise<Rows> {
    return this.#connection.run(statementOf(text)).result
  }
}

/** outcomeOf waits for the rows, or takes the server's refusal for the outcome. @throws what is no refusal */
export async function outcomeOf(run: () => Promise<readonly object[]>): Promise<Outcome> {
  try {
    const rows = (await run()) as readonly Record<string, unknown>[] & { readonly count?: number }
    return { kind: 'done', rows, count: rows.count ?? rows.length }
  } catch (error) {
    const code = errorCode(error)
    // Anything but the server's own answer is a lost connection or a defect, which proves nothing.
    if (code === undefined || !(error instanceof Error) || error.name !== 'PostgresError') throw error
    return { kind: 'refused', code, message: error.message }
  }
}
