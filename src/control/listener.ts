import postgres from 'postgres'
import type { DatabaseAddress } from './database-url.ts'
import { driverSocket, driverTls } from './driver-socket.ts'

export interface ListenerOptions {
  readonly address: DatabaseAddress
  readonly connectTimeoutMs: number
  /** Channels, each with what to do at a notification. */
  readonly channels: Readonly<Record<string, (payload: string) => void>>
  /** Called each time that it listens, the first time too: what was told before went unheard. */
  readonly onListening: () => void
  /** Called when the connection was lost or could not be made; it will be tried again. */
  readonly onLost: (error: unknown) => void
}

const RETRY_MS = 500
const LONGEST_RETRY_MS = 10_000

/**
 * Listener hears notifications (LISTEN) on a connection of its own, and makes it anew when it is
 * lost. The driver's own `listen` gives up for good when its first attempt to reconnect fails
 * (postgres.js 3.4, src/index.js, `listen`: the rejection of the second LISTEN is ignored).
 */
export class Listener {
  readonly #options: ListenerOptions
  // Never logged: `util.inspect` of the driver's handle prints the password.
  #handle: postgres.Sql | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #stopped = false

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  /** start begins to listen in the background. */
  start(): void {
    void this.#listen()
  }

  /** stop closes the connection and listens no more. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#drop()
  }

  async #listen(): Promise<void> {
    const handle = this.#open(() => {
      if (this.#handle === handle) this.#retry(new Error('The connection that listens was lost.'))
    })
    this.#handle = handle
    try {
      for (const channel of Object.keys(this.#options.channels)) await handle`listen ${handle(channel)}`
    } catch (error) {
      if (this.#handle === handle) this.#retry(error)
      return
    }
    if (this.#stopped || this.#handle !== handle) return
    this.#failures = 0
    this.#options.onListening()
  }

  #retry(error: unknown): void {
    void this.#drop()
    if (this.#stopped) return
    const pause = Math.min(RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS)
    this.#failures += 1
    this.#timer = setTimeout(() => void this.#listen(), pause)
    this.#timer.unref()
    this.#options.onLost(error)
  }

  async #drop(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.end({ timeout: 0 })
  }

  #open(onClosed: () => void): postgres.Sql {
    const { address, connectTimeoutMs, channels } = this.#options
    return postgres({
      host: address.host,
      port: address.port,
      database: address.database,
      username: address.user,
      password: () => address.password.reveal(),
      ssl: driverTls(address),
      max: 1,
      max_lifetime: null,
      idle_timeout: 0,
      connect_timeout: connectTimeoutMs / 1000,
      fetch_types: false,
      onnotice: () => {},
      onclose: onClosed,
      connection: { application_name: 'lessor control' },
      // Not in the driver's types, as in postgres-database.ts; `onnotify` is what its `listen` uses.
      ...{
        socket: () => driverSocket(address),
        no_subscribe: true,
        onnotify: (channel: string, payload: string) => channels[channel]?.(payload),
      },
    })
  }
}
