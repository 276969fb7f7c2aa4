import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Opening, readOpening } from './opening.ts'

/** Fault is what happens to a connection through the proxy. */
export type Fault =
  /** What passes is held back, chunk by chunk; up is towards the server. */
  | {
      readonly kind: 'slow'
      readonly upDelayMs?: number
      readonly downDelayMs?: number
      /** In each direction. */
      readonly bytesPerSecond?: number
    }
  /** Nothing passes, not even an end, as in a network that drops all packets; what was sent arrives once it heals. */
  | { readonly kind: 'silence' }
  /** So many bytes more of the server's pass, and then: RST to both sides, or silence. */
  | { readonly kind: 'cut'; readonly afterBytes: number; readonly into: 'reset' | 'silence' }
  /** The client's next packet is answered with RST; the server hears nothing of it. */
  | { readonly kind: 'reset' }
  /** The client's next packet is answered with an orderly end, as by a proxy whose server is down. */
  | { readonly kind: 'hang-up' }

type Direction = 'up' | 'down'

/** How often a throttled connection passes something on. */
const SLICE_MS = 20

export interface LinkOptions {
  readonly client: Socket
  readonly server: Socket
  /** Called once, with the client's first packet; returns the fault that it meets. */
  readonly onOpening: (opening: Opening) => Fault | undefined
}

/** Link is one connection through the proxy: the client's socket, the server's, and what stands between. */
export class Link {
  /** Resolves when both sockets are closed. */
  readonly closed: Promise<unknown>
  readonly #client: Socket
  readonly #server: Socket
  readonly #onOpening: LinkOptions['onOpening']
  readonly #over = new AbortController()
  #opening: Opening | undefined
  #fault: Fault | undefined
  /** The server's bytes since the fault was set. */
  #passed = 0
  #changed = Promise.withResolvers<void>()

  constructor({ client, server, onOpening }: LinkOptions) {
    this.#client = client
    this.#server = server
    this.#onOpening = onOpening
    this.closed = Promise.all([client, server].map(closing))
    void this.#pump(client, server, 'up')
    void this.#pump(server, client, 'down')
  }

  /** What the connection is for; undefined until the client has said so. */
  get opening(): Opening | undefined {
    return this.#opening
  }

  /** suffer puts a fault in the place of the one before; undefined is none. */
  suffer(fault: Fault | undefined): void {
    this.#fault = fault
    this.#passed = 0
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** reset sends RST to both sides now, whatever the fault. */
  reset(): void {
    this.#over.abort()
    this.#changed.resolve()
    resetSocket(this.#client)
    resetSocket(this.#server)
  }

  async #pump(from: Socket, to: Socket, direction: Direction): Promise<void> {
    try {
      // The sockets are ended one way at a time, so the iterator must not destroy them.
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        await this.#pass(chunk, to, direction)
        if (to.destroyed) break
      }
      await this.#audible()
      if (to.destroyed) this.reset()
      else to.end()
    } catch {
      // A side was reset, or the link is over. In silence the other side does not hear of it.
      await this.#audible()
      this.reset()
    }
  }

  async #pass(chunk: Buffer, to: Socket, direction: Direction): Promise<void> {
    if (direction === 'up' && this.#opening === undefined) {
      this.#opening = readOpening(chunk)
      const fault = this.#onOpening(this.#opening)
      if (fault !== undefined) this.suffer(fault)
    }
    await this.#audible()
    const fault = this.#fault
    switch (fault?.kind) {
      case undefined:
        return this.#write(to, chunk)
      case 'slow':
        await this.#wait((direction === 'up' ? fault.upDelayMs : fault.downDelayMs) ?? 0)
        return this.#trickle(to, chunk, fault.bytesPerSecond)
      case 'cut':
        return direction === 'up' ? this.#write(to, chunk) : this.#cut(to, chunk, fault)
      case 'reset':
        return direction === 'up' ? this.reset() : this.#write(to, chunk)
      case 'hang-up':
        if (direction === 'down') return this.#write(to, chunk)
        this.#client.end()
        this.#server.end()
        return
      case 'silence':
        throw new Error('bug: a silent link passes nothing')
    }
  }

  async #cut(to: Socket, chunk: Buffer, fault: Extract<Fault, { kind: 'cut' }>): Promise<void> {
    const left = fault.afterBytes - this.#passed
    if (chunk.length <= left) {
      this.#passed += chunk.length
      return this.#write(to, chunk)
    }
    await this.#write(to, chunk.subarray(0, left))
    if (fault.into === 'reset') return this.reset()
    this.suffer({ kind: 'silence' })
    await this.#audible()
    await this.#write(to, chunk.subarray(left))
  }

  async #trickle(to: Socket, chunk: Buffer, bytesPerSecond: number | undefined): Promise<void> {
    if (bytesPerSecond === undefined) return this.#write(to, chunk)
    const slice = Math.max(1, Math.round((bytesPerSecond * SLICE_MS) / 1000))
    for (let at = 0; at < chunk.length; at += slice) {
      const part = chunk.subarray(at, at + slice)
      await this.#wait((part.length * 1000) / bytesPerSecond)
      await this.#write(to, part)
    }
  }

  /** audible resolves when the link is not silent, or over. */
  async #audible(): Promise<void> {
    while (this.#fault?.kind === 'silence' && !this.#over.signal.aborted) await this.#changed.promise
  }

  async #wait(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#over.signal })
  }

  /** Resolves when the chunk has left, so that a slow reader slows the sender down. After a hang-up nothing leaves. */
  #write(to: Socket, chunk: Buffer): Promise<void> {
    if (to.writableEnded) return Promise.resolve()
    return new Promise((resolve) => {
      // A failure shows in `to.destroyed`.
      to.write(chunk, () => resolve())
    })
  }
}

/**
 * A socket that has been ended already is only closed: libuv refuses to reset it (uv_tcp_close_reset: no
 * mixing with uv_shutdown), and then Node neither closes it nor emits `close`.
 */
function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

function closing(socket: Socket): Promise<void> {
  // The pump that reads it hears of errors; a late one must not end the process.
  socket.on('error', () => {})
  return new Promise((resolve) => socket.once('close', () => resolve()))
}
