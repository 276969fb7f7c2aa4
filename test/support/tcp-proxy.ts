import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Opening } from './opening.ts'
import { type Fault, Link } from './proxy-link.ts'

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => Promise<void>): void
}

/** Which chooses connections by what they are for. */
export type Which = (opening: Opening) => boolean

const LOOPBACK = '127.0.0.1'
const ALL: Which = () => true

/**
 * TcpProxy stands between the service and a PostgreSQL server, on a free port of 127.0.0.1, and does
 * to their connections what networks do: all of them, or those chosen by the login that they open with.
 */
export class TcpProxy {
  readonly #target: { readonly host: string; readonly port: number }
  readonly #links = new Set<Link>()
  /** What each connection so far was for. */
  readonly #openings: Opening[] = []
  #listener: Server | undefined
  #port = 0
  #fault: { readonly fault: Fault; readonly which: Which } | undefined

  private constructor(target: TcpProxy['target']) {
    this.#target = target
  }

  /** start resolves with a proxy that listens, closed with `t`. `url` is the server's. */
  static async start(t: Scope, url: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(url)
    const proxy = new TcpProxy({ host: hostname, port: Number(port) })
    t.teardown(() => proxy.close())
    await proxy.#listen()
    return proxy
  }

  get target(): { readonly host: string; readonly port: number } {
    return this.#target
  }

  get port(): number {
    return this.#port
  }

  /** Connections through the proxy that have a socket left on either side. */
  get open(): number {
    return this.#links.size
  }

  /** What each of them is for; undefined where the client has not said so yet. */
  get left(): readonly (Opening | undefined)[] {
    return [...this.#links].map(({ opening }) => opening)
  }

  /** url is a database's URL by way of the proxy. */
  url(databaseUrl: string): string {
    const url = new URL(databaseUrl)
    url.hostname = LOOPBACK
    url.port = String(this.#port)
    return url.href
  }

  /** openings is what every connection so far was for, those included that are closed. */
  get openings(): readonly Opening[] {
    return this.#openings
  }

  /** inflict sets a fault on such connections, present and future, in the place of any other fault. */
  inflict(fault: Fault, which: Which = ALL): void {
    this.#fault = { fault, which }
    for (const link of this.#links) link.suffer(this.#faultOf(link.opening))
  }

  /** reset sends RST to both ends of such connections, now; returns how many there were. */
  reset(which: Which = ALL): number {
    const links = [...this.#links].filter(({ opening }) => opening !== undefined && which(opening))
    for (const link of links) link.reset()
    return links.length
  }

  /** refuse stops listening, so that new connections get ECONNREFUSED. */
  refuse(): void {
    this.#listener?.close()
    this.#listener = undefined
  }

  /** heal ends every fault, and listens again. */
  async heal(): Promise<void> {
    this.#fault = undefined
    for (const link of this.#links) link.suffer(undefined)
    if (this.#listener === undefined) await this.#listen()
  }

  /** close ends all connections and resolves when their sockets are closed. */
  async close(): Promise<void> {
    this.refuse()
    const closed = [...this.#links].map((link) => link.closed)
    for (const link of this.#links) link.reset()
    await Promise.all(closed)
  }

  async #listen(): Promise<void> {
    const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
    listener.listen(this.#port, LOOPBACK)
    await once(listener, 'listening')
    this.#port = (listener.address() as AddressInfo).port
    this.#listener = listener
  }

  #accept(client: Socket): void {
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    const link = new Link({
      client,
      server,
      onOpening: (opening) => {
        this.#openings.push(opening)
        return this.#faultOf(opening)
      },
    })
    this.#links.add(link)
    void link.closed.then(() => this.#links.delete(link))
  }

  #faultOf(opening: Opening | undefined): Fault | undefined {
    return opening !== undefined && this.#fault?.which(opening) === true ? this.#fault.fault : undefined
  }
}
