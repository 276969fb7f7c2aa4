import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'

/**
 * MAX_PIPELINED is how many requests a connection may send ahead of their answers, counted until the turn of
 * the event loop after the answer. Browsers, proxies and the usual clients send none.
 */
export const MAX_PIPELINED = 16

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/**
 * boundPipelining cuts connections that send more requests ahead of their answers than anyone needs. In one
 * turn of the event loop Node reads up to two megabytes of a connection and hands on every request in them,
 * thousands of small ones, before it looks at another; four such connections stopped the loop for eight
 * seconds. Call it when the server has the listener that serves requests.
 */
export function boundPipelining(server: Server, logger: FastifyBaseLogger): void {
  const ahead = new WeakMap<Socket, number>()
  const listeners = server.listeners('request') as Listener[]
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    // Node gives an answer its socket when it is its turn.
    if (response.socket === null && isTooMany(request.socket, response)) return
    for (const listener of listeners) listener.call(server, request, response)
  })

  function isTooMany(socket: Socket, response: ServerResponse): boolean {
    if (socket.destroyed) return true
    const count = (ahead.get(socket) ?? 0) + 1
    if (count > MAX_PIPELINED) {
      logger.info({ requests: count }, 'connection cut: too many requests ahead of their answers')
      socket.destroy()
      return true
    }
    ahead.set(socket, count)
    // Not before this turn is over: answers do not help while Node goes on reading.
    response.once('close', () => setImmediate(() => ahead.set(socket, (ahead.get(socket) ?? 1) - 1)))
    return false
  }
}
