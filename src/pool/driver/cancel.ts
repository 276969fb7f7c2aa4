import type { Socket } from 'node:net'
import { openSocket, type SocketTarget } from '../open-socket.ts'
import { type BackendKey, cancelRequest } from './protocol.ts'

/** Longest life of a cancel request's socket; the server hangs up as soon as it has read the request. */
const CANCEL_MS = 5_000

/**
 * sendCancelRequest asks the server to stop what a session runs; resolves when the server has hung up, so that the
 * request has been taken, or after five seconds.
 * @throws what openSocket throws
 */
export async function sendCancelRequest(target: SocketTarget, key: BackendKey): Promise<void> {
  const socket = await openSocket(target, endInTime)
  const closed = new Promise((resolve) => {
    if (socket.closed) resolve(undefined)
    else socket.once('close', resolve)
  })
  // What the server says to it is of no interest, but its end would not be seen unread.
  socket.resume()
  socket.write(cancelRequest(key))
  await closed
}

/** A cancel request in a network that has fallen silent gets no answer, so its socket must end by itself. */
function endInTime(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), CANCEL_MS)
  socket.once('close', () => clearTimeout(timer))
}
