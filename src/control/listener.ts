import { setTimeout as sleep } from 'node:timers/promises'
import { ident, sql } from '../pool/statement.ts'
import type { DatabaseAddress } from './database-url.ts'
import { Lane } from './lane.ts'

export interface ListenerOptions {
  readonly address: DatabaseAddress
  /** Longest wait for the login, and for the answer to LISTEN. */
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
const APPLICATION_NAME = 'lessor control'

/**
 * Listener hears notifications (LISTEN) on a connection of its own, and makes it anew when it is
 * lost. The driver's own `listen` gives up for good when its first attempt to reconnect fails
 * (postgres.js 3.4, src/index.js, `listen`: the rejection of the second LISTEN is ignored).
 */
export class Listener {
  readonly #options: ListenerOptions
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined
  #failures = 0

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  /** start begins to listen in the background. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** stop listens no more and resolves when no connection is left. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        await this.#listen(signal)
      } catch (error) {
        if (signal.aborted) return
        this.#options.onLost(error)
      }
      const pause = Math.min(RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS)
      this.#failures += 1
      await sleep(pause, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  /** @throws always: what kept it from listening, or that the connection was lost */
  async #listen(signal: AbortSignal): Promise<never> {
    const { address, channels, connectTimeoutMs, onListening } = this.#options
    const target = {
      ...address,
      server: APPLICATION_NAME,
      parameters: { application_name: APPLICATION_NAME },
    }
    const lane = await Lane.open(target, {
      connectTimeoutMs,
      patienceMs: connectTimeoutMs,
      signal,
      onNotify: (channel, payload) => {
        if (Object.hasOwn(channels, channel)) channels[channel]?.(payload)
      },
    })
    const stop = () => void lane.close()
    signal.addEventListener('abort', stop, { once: true })
    try {
      signal.throwIfAborted()
      for (const channel of Object.keys(channels)) await lane.send(sql`listen ${ident(channel)}`)
      this.#failures = 0
      onListening()
      await lane.lost
      throw new Error('The connection that listens was lost.')
    } finally {
      signal.removeEventListener('abort', stop)
      await lane.close()
    }
  }
}
