import type { Connect, Connection } from '../../src/pool/contract.ts'
import { Statement } from '../../src/pool/statement.ts'

/** Lines that are kept of a connection. */
const KEPT = 24

/** One statement on a connection, in the order in which they were sent. */
interface Line {
  readonly statement: Statement | undefined
  outcome: string
}

/**
 * ConnectionLog remembers what each connection was given last, and what came of it, so that a wrong answer can be
 * shown among its neighbours.
 */
export class ConnectionLog {
  readonly #where = new WeakMap<Statement, readonly Line[]>()
  readonly #names = new WeakMap<Statement, string>()

  /** name says what a statement is, for `around`. */
  name(statement: Statement, name: string): void {
    this.#names.set(statement, name)
  }

  /** around returns what was on the connection that a statement was sent on; nothing when it never was. */
  around(statement: Statement): readonly string[] {
    return (this.#where.get(statement) ?? []).map((line) => {
      const mark = line.statement === statement ? '>' : ' '
      const name =
        line.statement === undefined ? 'begin' : (this.#names.get(line.statement) ?? 'commit or so')
      return `${mark} ${name}: ${line.outcome}`
    })
  }

  /** recorded makes connections that are noted here. */
  recorded(connect: Connect): Connect {
    return async (target, signal) => this.#watch(await connect(target, signal))
  }

  /** All else goes to the connection as it is, so that this knows no more of it than that it runs statements. */
  #watch(connection: Connection): Connection {
    const lines: Line[] = []
    const note = (statement: unknown, running: ReturnType<Connection['run']>) => {
      const known = statement instanceof Statement ? statement : undefined
      const line: Line = { statement: known, outcome: 'no answer yet' }
      lines.push(line)
      if (lines.length > KEPT) lines.shift()
      if (known !== undefined) this.#where.set(known, lines)
      running.result.then(
        (rows) => {
          line.outcome = `${rows.length} rows`
        },
        (error: unknown) => {
          line.outcome = String(error).slice(0, 200)
        },
      )
      return running
    }
    return new Proxy(connection, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        if (key !== 'run' && key !== 'begin') return value.bind(target)
        return (...args: unknown[]) => note(key === 'run' ? args[0] : undefined, value.apply(target, args))
      },
    })
  }
}
