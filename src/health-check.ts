// What the image's HEALTHCHECK runs beside the service, with its environment: exits with 0 when /livez answers 200, else with
// 1 and a sentence. It asks no other server, so that a database that is down does not restart the service.
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { serviceUrl } from './banner.ts'
import { readEnvironment } from './config.ts'

const TIMEOUT_MS = 2_500
const DEFAULTS = { host: '127.0.0.1', port: 8080 }

const { HOST, PORT, TLS_CERT_FILE } = readEnvironment()
const address = HOST || DEFAULTS.host
const family = address.includes(':') ? 'IPv6' : 'IPv4'
const isSecure = Boolean(TLS_CERT_FILE)
const url = serviceUrl(isSecure ? 'https' : 'http', { address, family, port: Number(PORT) || DEFAULTS.port })

const options = { timeout: TIMEOUT_MS, agent: false }
// The certificate is for the name that clients know, which this one does not.
const request = isSecure
  ? httpsRequest(`${url}/livez`, { ...options, rejectUnauthorized: false })
  : httpRequest(`${url}/livez`, options)
request
  .on('response', ({ statusCode }) => end(statusCode === 200 ? undefined : `answers ${statusCode}`))
  .on('timeout', () => end(`does not answer in ${TIMEOUT_MS} ms`))
  .on('error', ({ message }) => end(`cannot be reached: ${message}`))
  .end()

function end(problem: string | undefined): never {
  if (problem === undefined) process.exit(0)
  process.stderr.write(`${url}/livez ${problem}\n`)
  process.exit(1)
}
