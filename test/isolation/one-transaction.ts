import { statementOf } from '../../src/isolation/session.ts'
import type {
  Connect,
  Connection,
  ConnectionTarget,
  Rows,
  Running,
  TransactionCommand,
} from '../../src/pool/contract.ts'
import type { ScriptDb, Statement } from '../../src/pool/statement.ts'

/**
 * OneTransaction lets many logins work inside one transaction of a superuser, so that DDL that is not committed
 * counts for all of them: each unit of work is a savepoint in which the superuser is that login (its
 * session_authorization is set locally). Units come one after the other.
 */
export class OneTransaction {
  readonly #connection: Connection
  #last: Promise<unknown> = Promise.resolve()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** admin runs as the superuser; a statement that fails takes back itself alone. */
  readonly admin: ScriptDb = {
    query: <Row extends object>(statement: Statement) =>
      this.#next(() => this.#alone(() => this.#run(statement), undefined)) as Promise<readonly Row[]>,
    script: async (text) => {
      await this.#next(() => this.#alone(() => this.#run(statementOf(text)), undefined))
    },
    transaction: () => {
      throw new Error('bug: this is a transaction')
    },
  }

  /** connect stands in for a login. */
  readonly connect: Connect = async (target) => {
    let isOpen = false
    const run = async (work: () => Promise<Rows>): Promise<Rows> =>
      isOpen ? work() : this.#alone(work, target)
    const command = async (command: TransactionCommand): Promise<Rows> => {
      switch (command) {
        case 'begin':
          isOpen = true
          await Promise.all([this.#text('savepoint unit'), this.#become(target)])
          return []
        case 'rollback':
          isOpen = false
          await Promise.all([this.#text('rollback to savepoint unit'), this.#text('release savepoint unit')])
          return []
        case 'commit':
          isOpen = false
          await Promise.all([
            this.#text('release savepoint unit'),
            this.#text('set local session authorization default'),
          ])
          return []
      }
    }
    return {
      pid: this.#connection.pid,
      isUsable: true,
      run: (statement) => running(this.#next(() => run(() => this.#run(statement)))),
      copy: (text) => running(this.#next(() => run(() => this.#connection.copy(text).result))),
      command: (each) => running(this.#next(() => command(each))),
      close: async () => {},
      destroy: () => {},
      lost: new Promise(() => {}),
    }
  }

  /** during runs `work` in the transaction and takes everything back. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    await this.#connection.command('begin').result
    try {
      return await work()
    } finally {
      await this.#next(() => this.#connection.command('rollback').result)
    }
  }

  async #alone(work: () => Promise<Rows>, target: ConnectionTarget | undefined): Promise<Rows> {
    const saved = this.#text('savepoint alone')
    try {
      const first = [saved, ...(target === undefined ? [] : [this.#become(target)])]
      const result = work()
      await Promise.all([...first, result])
      return await result
    } finally {
      // What a login does outside of a unit only reads; an administrator's work stays.
      const last = target === undefined ? [] : [this.#text('rollback to savepoint alone')]
      await Promise.all([...last, this.#text('release savepoint alone')]).catch(() =>
        this.#text('rollback to savepoint alone'),
      )
    }
  }

  async #become({ user, parameters }: ConnectionTarget): Promise<void> {
    const settings = Object.entries({ session_authorization: user, ...parameters })
      .filter(([name]) => name !== 'application_name')
      .map(([name, value]) => `set_config('${name}', '${value}', true)`)
    await this.#text(`select ${settings.join(', ')}`)
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }

  #text(text: string): Promise<Rows> {
    return this.#run(statementOf(text))
  }

  async #run(statement: Statement): Promise<Rows> {
    return this.#connection.run(statement).result
  }
}

function running(result: Promise<Rows>): Running {
  return { result, refusal: undefined, cancel: async () => {} }
}
