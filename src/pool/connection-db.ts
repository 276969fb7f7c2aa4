import type { Connection, Rows, TransactionCommand } from './contract.ts'
import type { Db, Statement } from './statement.ts'
import { Transaction } from './transaction.ts'

/** ConnectionDb is a Db on one connection that its holder has alone, beside the pools. */
export class ConnectionDb implements Db {
  readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
  }

  async query<Row extends object = Record<string, unknown>>(statement: Statement): Promise<readonly Row[]> {
    // Row is the caller's word for what its own SQL returns.
    return (await this.connection.run(statement).result) as readonly Row[]
  }

  /** command begins or ends a transaction by itself, for work that is not a function. */
  command(command: TransactionCommand): Promise<Rows> {
    return this.connection.command(command).result
  }

  transaction<T>(fn: (tx: Db) => Promise<T>): Promise<T> {
    const tx = new Transaction({
      send: (statement) => this.connection.run(statement).result,
      command: (command) => this.command(command),
    })
    return tx.run(fn)
  }

  /** rolledBack runs `fn` in a transaction and takes back what it did. */
  async rolledBack<T>(fn: () => Promise<T>): Promise<T> {
    await this.command('begin')
    try {
      return await fn()
    } finally {
      await this.command('rollback')
    }
  }
}
