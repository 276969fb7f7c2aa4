import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { LessorError } from '../errors.ts'
import { PROBLEM_TYPE, problemOf } from './problem.ts'

export interface ClientErrorOptions {
  readonly logger: FastifyBaseLogger
  /** Names what is answered, as requests are named. */
  readonly requestId: () => string
  /** Header fields of every answer. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

/** How long a client that is still sending has to read its answer, before the connection is cut. */
const LINGER_MS = 1_000

/**
 * clientErrorHandler answers what Node's parser cannot read as HTTP, or does not get in time, with
 * problem+json, and closes the connection. It never writes into an answer that has begun, nor ahead of one
 * that another request on the connection waits for: who cannot be told is cut off.
 */
export function clientErrorHandler({ headers, logger, requestId }: ClientErrorOptions) {
  return (failure: NodeJS.ErrnoException, socket: Socket): void => {
    // Reset by the client, or told already.
    if (!socket.writable || failure.code === 'ECONNRESET') return
    const response = underWay(socket)
    if (response?.req.complete === false && failure.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
      // Its route knows whether it waits for the body; see lifetime-plugin.ts.
      return
    }
    if (response !== undefined && (response.req.complete || response.headersSent)) {
      socket.destroy()
      return
    }
    const error = errorOf(failure.code)
    const id = requestId()
    log(logger, error, failure.code, id)
    const body = JSON.stringify(problemOf(error, id))
    const fields = [
      ...headers,
      ['x-request-id', id],
      ['content-type', PROBLEM_TYPE],
      ['content-length', String(Buffer.byteLength(body))],
      ['date', new Date().toUTCString()],
      ['connection', 'close'],
    ] as const
    // The body of this request is what cannot be read: Node sends the answer and closes the connection.
    if (response !== undefined) response.writeHead(error.status, Object.fromEntries(fields)).end(body)
    else answer(socket, error.status, fields, body)
  }
}

function errorOf(code: string | undefined): LessorError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new LessorError('REQUEST_INCOMPLETE', 'The header of the request did not arrive in time.')
    case 'HPE_HEADER_OVERFLOW':
      return new LessorError('HEADERS_TOO_LARGE', 'URL and header fields take more than 16 kB together.')
    default:
      return new LessorError('INVALID_HTTP', 'The request is not valid HTTP/1.1.')
  }
}

/** Nothing of the request is logged but why: what was read of it may hold a key. */
function log(logger: FastifyBaseLogger, error: LessorError, reason: string | undefined, id: string): void {
  logger.info(
    { requestId: id, status: error.status, code: error.code, reason },
    'request refused before it was read',
  )
}

function answer(
  socket: Socket,
  status: number,
  fields: readonly (readonly [string, string])[],
  body: string,
): void {
  const head = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`)
  // Closed while it sends, it might never read the answer.
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.once('close', () => clearTimeout(timer))
}

/**
 * The first answer that the connection still owes. Node's own handling of such errors looks for it in the same
 * place (lib/_http_server.js, socketOnError); there is no public one.
 */
function underWay(socket: Socket): ServerResponse<IncomingMessage> | undefined {
  const { _httpMessage } = socket as { readonly _httpMessage?: ServerResponse<IncomingMessage> | null }
  return _httpMessage ?? undefined
}
