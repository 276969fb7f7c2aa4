import { connect, isIP, type Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import type { DatabaseAddress } from './database-url.ts'

/** What a caller reads when the server hung up; the driver's own name for it. */
const CLOSED = 'CONNECTION_CLOSED'

/**
 * driverSocket starts to connect and returns the socket at once, for the driver's `socket` option:
 * so its connect timeout counts from here, and a failure reaches it as an event. (When the option
 * rejects, postgres.js 3.4 never gives the connection's place free again; src/connection.js,
 * createSocket.)
 */
export function driverSocket(address: DatabaseAddress): Socket {
  const { host, port } = address
  const socket = connect(
    host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port, noDelay: true },
  )
  // A proxy whose server is down accepts and closes. The driver would reconnect without end or
  // pause, and the caller never hear of it (closed(), same file); an error ends that.
  socket.once('end', () => {
    socket.destroy(Object.assign(new Error('The server closed the connection.'), { code: CLOSED }))
  })
  return socket
}

/** driverTls is the driver's `ssl` option for an address; the name to check is not left to the socket. */
export function driverTls(address: DatabaseAddress): ConnectionOptions | false {
  const { host, tls } = address
  if (tls === 'disable') return false
  return { host, rejectUnauthorized: tls === 'verify-full', ...(isIP(host) === 0 && { servername: host }) }
}
