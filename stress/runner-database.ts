import { join } from 'node:path'
import { type Embedded, startEmbedded } from '../src/embedded/start-embedded.ts'
import { readEmbeddedDatabase } from './embedded-database.ts'

const MAX_CONNECTIONS = 200

/**
 * RunnerDatabase is a PostgreSQL of the runner's, so that it is there before and after the service and
 * can be restarted under it. It lies in a STATE_DIR as the service's own would.
 */
export class RunnerDatabase {
  readonly #stateDir: string
  readonly #signal: AbortSignal
  #server: Embedded

  private constructor(stateDir: string, signal: AbortSignal, server: Embedded) {
    this.#stateDir = stateDir
    this.#signal = signal
    this.#server = server
  }

  /** start makes and starts it. @throws EmbeddedError, AbortError */
  static async start(stateDir: string, signal: AbortSignal): Promise<RunnerDatabase> {
    return new RunnerDatabase(stateDir, signal, await start(stateDir, signal))
  }

  /** Connection URL of the superuser; a restart does not change it. */
  get url(): string {
    return this.#server.url.reveal()
  }

  /** restart ends all sessions, shuts the server down and starts it again (pg_ctl restart -m fast). */
  async restart(): Promise<void> {
    await this.#server.stop()
    await this.#startAgain()
  }

  /** crash makes the server drop everything as it is, and starts it again with a recovery (pg_ctl -m immediate). */
  async crash(): Promise<void> {
    const { pid } = await readEmbeddedDatabase(this.#stateDir)
    process.kill(pid, 'SIGQUIT')
    await this.#server.exited
    // It has ended; this lets go of the folder.
    await this.#server.stop()
    await this.#startAgain()
  }

  stop(): Promise<void> {
    return this.#server.stop()
  }

  async #startAgain(): Promise<void> {
    const { port } = this.#server
    this.#server = await start(this.#stateDir, this.#signal)
    if (this.#server.port !== port) throw new Error(`port ${port} was taken while the server was down`)
  }
}

function start(stateDir: string, signal: AbortSignal): Promise<Embedded> {
  return startEmbedded({
    directory: join(stateDir, 'postgres'),
    maxConnections: MAX_CONNECTIONS,
    signal,
  })
}
