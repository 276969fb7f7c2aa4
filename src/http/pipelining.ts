import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'

/**
 * MAX_PIPELINED is how many requests a connection may send ahead of their answers, or have served in one turn
 * of the event loop. Who waits for an answer has one a turn, or 48 where libuv looks that often at more than
 * a thousand connections (uv__io_poll).
 */
export const MAX_PIPELINED = 64

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/**
 * boundPipelining cuts connections that send more requests ahead of their answers than anyone needs. In one
 * turn of the event loop Node reads up to two megabytes of a connection and hands on every request in them,
 * thousands of small ones, before it looks at another; four such connections stopped the loop for eight
 * seconds. Call it when the server has the listener that serves requests.
 */
export function boundPipelining(server: Server, logger: FastifyBaseLogger): void {
  const ahead = new WeakMap<Socket, number>()
  const thisTurn = new Map<Socket, number>()
  const nextTurn = () => thisTurn.clear()
  const listeners = server.listeners('request') as Listener[]
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    if (isTooMany(request.socket, response)) return
    for (const listener of listeners) listener.call(server, request, response)
  })

  function isTooMany(socket: Socket, response: ServerResponse): boolean {
    if (socket.destroyed) return true
    if (thisTurn.size === 0) setImmediate(nextTurn)
    const served = (thisTurn.get(socket) ?? 0) + 1
    thisTurn.set(socket, served)
    // Node gives an answer its socket when it is its turn.
    const waiting = response.socket === null ? wait(socket, response) : 0
    if (served <= MAX_PIPELINED && waiting <= MAX_PIPELINED) return false
    logger.info('connection cut: too many requests ahead of their answers')
    socket.destroy()
    return true
  }

  function wait(socket: Socket, response: ServerResponse): number {
    const waiting = (ahead.get(socket) ?? 0) + 1
    ahead.set(socket, waiting)
    response.once('close', () => ahead.set(socket, (ahead.get(socket) ?? 1) - 1))
    return waiting
  }
}
