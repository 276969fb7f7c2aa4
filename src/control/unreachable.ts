import { NO_PRIMARY } from '../pool/writable-hosts.ts'

/** Codes of ours, of the driver and of Node's sockets that mean: no conversation with the server took place or it broke off. */
const SOCKET_CODES = new Set([
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  NO_PRIMARY,
  'SASL_SIGNATURE_MISMATCH',
])

/** Failed TLS handshakes: OpenSSL's and Node's names (Node manual, "X509 certificate error codes"). */
const TLS = /CERT|^ERR_(?:TLS|SSL)_|^UNABLE_TO_VERIFY|^HOSTNAME_MISMATCH$|^EPROTO$/

/**
 * SQLSTATEs of a server that does not let us work at all: connection exceptions, refused logins,
 * no such database, no writes, too many connections, shutdown and start-up (PostgreSQL manual, appendix A).
 */
const REFUSED = /^(?:08...|25006|28...|3D000|53300|57P0[123])$/

/** isUnreachable says whether an error of the driver means that the server could not be used at all. */
export function isUnreachable(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return false
  return SOCKET_CODES.has(error.code) || TLS.test(error.code) || REFUSED.test(error.code)
}
