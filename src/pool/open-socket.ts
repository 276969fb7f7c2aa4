import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import type { ServerWay } from './contract.ts'

/** SSLRequest, PostgreSQL manual, "Message Formats": length 8, code 80877103. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const ACCEPTED = 'S'.charCodeAt(0)

/** SocketTarget is one host of a server; its name is what a certificate must be for. */
export interface SocketTarget extends Pick<ServerWay, 'host' | 'port' | 'tls' | 'rootCertificates'> {
  /** The address of `host` to connect to; resolved here when undefined. */
  readonly address?: string | undefined
}

/**
 * openSocket connects to a target's server and, where asked, negotiates TLS; resolves with a socket
 * that is ready for the start-up packet. `onSocket` hears of every socket at once, so that it can be
 * destroyed while it still connects.
 *
 * TCP_NODELAY is set from the start: without it Nagle's algorithm holds back the small packets of
 * the TLS handshake until the other side's delayed ACK.
 *
 * @throws the socket's error, or an Error when the server speaks no TLS or there are no root certificates
 */
export async function openSocket(target: SocketTarget, onSocket: (socket: Socket) => void): Promise<Socket> {
  const { host, port, address = host } = target
  const trust = trustOf(target)
  const socket = connectTcp(
    host.startsWith('/')
      ? { path: `${host}/.s.PGSQL.${port}` }
      : { host: address, port, noDelay: true, keepAlive: true },
  )
  // Failures are told to whoever waits; this listener only keeps a late one from ending the process.
  socket.on('error', () => {})
  onSocket(socket)
  await event(socket, 'connect')
  if (trust === undefined) return socket
  socket.write(SSL_REQUEST)
  const [answer] = await event(socket, 'data')
  // More than the one byte would be injected before encryption (CVE-2021-23222).
  if (!(answer instanceof Buffer) || answer.length !== 1 || answer[0] !== ACCEPTED) {
    socket.destroy()
    throw new Error(`The server at ${host}:${port} does not accept TLS connections.`)
  }
  const secure = connectTls({
    socket,
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...trust,
  })
  secure.on('error', () => {})
  onSocket(secure)
  await event(secure, 'secureConnect')
  return secure
}

/** trustOf is what a server's certificate is checked for; undefined without TLS. */
function trustOf({ tls, rootCertificates }: SocketTarget): ConnectionOptions | undefined {
  switch (tls) {
    case 'disable':
      return undefined
    case 'require':
      return { rejectUnauthorized: false }
    case 'verify-ca':
    case 'verify-full':
      return {
        rejectUnauthorized: true,
        ...(rootCertificates && { secureContext: rootCertificates.context }),
        ...(tls === 'verify-ca' && { checkServerIdentity: () => undefined }),
      }
  }
}

/** event resolves with the event's arguments, and rejects when the socket fails or closes first. */
function event(socket: Socket, name: 'connect' | 'data' | 'secureConnect'): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      socket.removeListener(name, onEvent)
      socket.removeListener('error', onError)
      socket.removeListener('close', onClose)
    }
    const onEvent = (...args: unknown[]) => {
      settle()
      if (name === 'data') socket.pause()
      resolve(args)
    }
    const onError = (error: Error) => {
      settle()
      reject(error)
    }
    const onClose = () => {
      settle()
      reject(new Error('The connection was closed while it was being opened.'))
    }
    socket.on(name, onEvent)
    socket.on('error', onError)
    socket.on('close', onClose)
  })
}
