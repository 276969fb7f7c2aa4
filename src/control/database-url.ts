import type { TlsMode } from '../pool/contract.ts'
import { Secret } from '../secret.ts'

/** DatabaseAddress is a parsed database URL: where a server is, and as whom to log in. */
export interface DatabaseAddress {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly password: Secret
  readonly tls: TlsMode
}

const TLS_BY_SSLMODE: Readonly<Record<string, TlsMode>> = {
  disable: 'disable',
  require: 'require',
  'verify-full': 'verify-full',
}

/**
 * parseDatabaseUrl reads `postgres://user:password@host:port/database?sslmode=...`. A socket
 * directory stands percent-encoded in the host's place (libpq's URI form). Without `sslmode` the
 * connection is not encrypted.
 * @throws Error that says what is wrong and never holds the URL
 */
export function parseDatabaseUrl(text: string): DatabaseAddress {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:')) {
    throw new Error('The database URL must have the form postgres://user:password@host:port/database')
  }
  const user = decode(url.username)
  const host = decode(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  const database = decode(url.pathname.slice(1))
  if (user === '' || host === '' || database === '') {
    throw new Error('The database URL must name a user, a host and a database')
  }
  return {
    host,
    port: url.port === '' ? 5432 : Number(url.port),
    database,
    user,
    password: new Secret(decode(url.password)),
    tls: tlsMode(url.searchParams),
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new Error('The database URL has a part that is not percent-encoded as it should be')
  }
}

function tlsMode(parameters: URLSearchParams): TlsMode {
  for (const name of parameters.keys()) {
    if (name !== 'sslmode') throw new Error(`The database URL must not have the parameter "${name}"`)
  }
  const tls = TLS_BY_SSLMODE[parameters.get('sslmode') ?? 'disable']
  if (tls === undefined) {
    throw new Error("The database URL's sslmode must be disable, require or verify-full")
  }
  return tls
}
