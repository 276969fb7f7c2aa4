import { Readable, Writable } from 'node:stream'
import type { Connect, Connection, ConnectionTarget } from '../pool/contract.ts'
import { errorCode } from '../pool/driver-errors.ts'
import { type Db, Statement } from '../pool/statement.ts'

/** Outcome is what a statement came to. */
export type Outcome =
  | { readonly kind: 'done'; readonly rows: readonly Record<string, unknown>[]; readonly count: number }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }

/** Session runs attacks, each in a transaction that is rolled back. */
export interface Session {
  /** attempt runs `text` after `before`, which must succeed, and takes all of it back. */
  attempt(before: readonly string[], text: string): Promise<Outcome>
  readonly db: Db
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
  const open = () => connect(target, AbortSignal.timeout(timeoutMs))
  return new ConnectionSession(await open(), open)
}

class ConnectionSession implements Session {
  #connection: Connection
  readonly #open: () => Promise<Connection>
  readonly db: Db

  constructor(connection: Connection, open: () => Promise<Connection>) {
    this.#connection = connection
    this.#open = open
    this.db = {
      query: async <Row extends object>(statement: Statement) =>
        (await this.#connection.run(statement).result) as readonly Row[],
      transaction: () => {
        throw new Error('bug: attempts bring their own transaction')
      },
    }
  }

  async attempt(before: readonly string[], text: string): Promise<Outcome> {
    if (/^copy /.test(text)) return this.#attemptCopy(before, text)
    const first = ['begin', ...before].map((each) => this.#run(each))
    const tried = outcomeOf(async () => (await this.#run(text)) as readonly object[])
    const last = this.#run('rollback')
    const [outcome] = await Promise.all([tried, last, ...first])
    return outcome
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }

  async #run(text: string): Promise<unknown> {
    return this.#connection.run(statementOf(text)).result
  }

  /** While the server copies it takes no other statement, and the driver gives a stream. */
  async #attemptCopy(before: readonly string[], text: string): Promise<Outcome> {
    await Promise.all(['begin', ...before].map((each) => this.#run(each)))
    let result: unknown
    const outcome = await outcomeOf(async () => {
      result = await this.#run(text)
      return result instanceof Readable ? readLines(result) : []
    })
    if (result instanceof Writable) {
      // It waits for rows, and so it would take them. The driver ends such a copy in simple queries alone.
      this.#connection.destroy()
      await this.#connection.lost
      this.#connection = await this.#open()
      return { kind: 'done', rows: [], count: 1 }
    }
    await this.#run('rollback')
    return outcome
  }
}

async function readLines(stream: Readable): Promise<readonly { readonly line: string }[]> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk))
  const lines = Buffer.concat(chunks).toString('utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => ({ line }))
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
