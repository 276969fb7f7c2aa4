import { once } from 'node:events'
import type { ConnectionTarget } from '../../pool/contract.ts'
import { serverError, startupMessage } from '../../pool/driver/protocol.ts'
import { errorCode } from '../../pool/driver-errors.ts'
import { openSocket } from '../../pool/open-socket.ts'

const ERROR_RESPONSE = 'E'.charCodeAt(0)
/** Type and length of a message, before its body. */
const HEADER_BYTES = 5

/**
 * stallLogin asks for a login and never sends the password. All who reach the port can do that; the server keeps a place for
 * the session until its `authentication_timeout`. Resolves when the server or `signal` ends it, with the server's SQLSTATE if
 * it was refused.
 * @throws the socket's error while it connects
 */
export async function stallLogin(target: ConnectionTarget, signal: AbortSignal): Promise<string | undefined> {
  const socket = await openSocket(target, () => {})
  const { user, database } = target
  let refused: string | undefined
  socket.on('data', (chunk: Buffer) => {
    if (chunk[0] === ERROR_RESPONSE) refused ??= errorCode(serverError(chunk.subarray(HEADER_BYTES)))
  })
  socket.on('end', () => socket.destroy())
  const abandon = () => socket.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  socket.write(startupMessage({ user, database }))
  if (signal.aborted) abandon()
  socket.resume()
  if (!socket.closed) await once(socket, 'close')
  signal.removeEventListener('abort', abandon)
  return refused
}
