import type { Connect, Connection, ConnectionTarget, Rows, Running } from '../../src/pool/contract.ts'

const ROWS: Rows = Object.assign([{ ok: true }], { command: 'SELECT' })

/** StandIn is a driver without a server: it opens at once and answers at once. */
export class StandIn {
  readonly #live = new Set<StandInConnection>()

  readonly connect: Connect = async (_target: ConnectionTarget, signal) => {
    signal.throwIfAborted()
    const connection = new StandInConnection((gone) => this.#live.delete(gone))
    this.#live.add(connection)
    return connection
  }

  /** loseAll is the server's end of every connection; the pools stay, with their credentials alone. */
  loseAll(): void {
    for (const connection of [...this.#live]) connection.destroy()
  }
}

class StandInConnection implements Connection {
  readonly pid = 0
  readonly #onGone: (connection: StandInConnection) => void
  #isGone = false
  #lose: () => void = () => {}
  readonly lost = new Promise<void>((resolve) => {
    this.#lose = resolve
  })

  get isUsable(): boolean {
    return !this.#isGone
  }

  constructor(onGone: (connection: StandInConnection) => void) {
    this.#onGone = onGone
  }

  run(): Running {
    const result = this.#isGone
      ? Promise.reject<Rows>(Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' }))
      : Promise.resolve(ROWS)
    return { result, refusal: undefined, cancel: () => Promise.resolve() }
  }

  command(): Running {
    return this.run()
  }

  copy(): Running {
    return this.run()
  }

  async close(): Promise<void> {
    this.destroy()
  }

  destroy(): void {
    this.#isGone = true
    this.#onGone(this)
    this.#lose()
  }
}
