import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Long enough for a UUID or a trace id; short and plain enough for a header and a log. */
const REQUEST_ID = /^[A-Za-z0-9._~:/+=-]{1,128}$/

/**
 * makeRequestIds makes the function that names requests: by the caller's `x-request-id` when that is
 * a plain token, else by a random prefix of this process and a number.
 */
export function makeRequestIds(): (request: Pick<IncomingMessage, 'headers'>) => string {
  const prefix = randomBytes(9).toString('base64url')
  let count = 0
  return (request) => {
    const given = request.headers['x-request-id']
    if (typeof given === 'string' && REQUEST_ID.test(given)) return given
    count += 1
    return `${prefix}.${count.toString(36)}`
  }
}
