import type { Socket } from 'node:net'
import type { ConnectionTarget } from './contract.ts'
import { type ConnectionOptions, DriverConnection } from './driver/connection.ts'
import { startDriver } from './driver/driver.ts'
import type { OnNotify } from './driver/pipeline.ts'
import { Session } from './driver/session.ts'
import { openSocket, type SocketTarget } from './open-socket.ts'
import { WritableHosts } from './writable-hosts.ts'

export type { ConnectionOptions, DriverConnection, OnNotify }

const hosts = new WritableHosts()

/**
 * openConnection logs in and resolves with one server connection, whose socket is ours: closing it can be awaited
 * to the end, and a lost connection is never reopened behind the engine's back. Of several hosts, or addresses of one,
 * it finds the one that takes writes.
 *
 * @throws what WritableHosts.open throws: the server's error, the socket's error, or `signal.reason`; no socket is left then, and the server has
 *   hung up, so that its backend counts no longer, unless it keeps silent for a second
 */
export async function openConnection(
  target: ConnectionTarget,
  signal: AbortSignal,
  options: ConnectionOptions = {},
): Promise<DriverConnection> {
  return hosts.open(target, (endpoint, each) => logIn({ ...target, ...endpoint }, each, options), signal)
}

async function logIn(
  target: ConnectionTarget & SocketTarget,
  signal: AbortSignal,
  options: ConnectionOptions,
): Promise<DriverConnection> {
  signal.throwIfAborted()
  // It takes a few turns of the event loop, and is ready by the time that the login is.
  const starting = startDriver()
  const sockets: Socket[] = []
  let session: Session | undefined
  const abandon = () => {
    if (session !== undefined) session.abandon()
    else for (const socket of sockets) socket.destroy()
  }
  signal.addEventListener('abort', abandon, { once: true })
  try {
    session = new Session(await openSocket(target, (socket) => sockets.push(socket)))
    signal.throwIfAborted()
    await session.logIn({ ...target, parameters: parametersOf(target) })
    signal.throwIfAborted()
    return new DriverConnection(session, await starting, target, options)
  } catch (error) {
    abandon()
    await session?.closed
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', abandon)
  }
}

function parametersOf({ parameters }: ConnectionTarget): Readonly<Record<string, string>> {
  return { application_name: 'lessor', TimeZone: 'UTC', ...parameters }
}
