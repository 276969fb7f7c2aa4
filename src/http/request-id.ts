import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Long enough for a UUID or a trace id; short and plain enough for a header and a log. */
const REQUEST_ID = /^[A-Za-z0-9._~:/+=-]{1,128}$/

/** requestId takes the caller's `x-request-id` when it is a plain token, else makes a random one. */
export function requestId(request: Pick<IncomingMessage, 'headers'>): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
}
