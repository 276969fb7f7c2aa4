import { isIPv6 } from 'node:net'
import type { HostAddress } from '../pool/contract.ts'

/** UrlParts is a database URL taken apart, with everything percent-decoded; what is not there is undefined. */
export interface UrlParts {
  /** A socket directory begins with a slash. */
  readonly hosts: readonly Partial<HostAddress>[]
  readonly user: string | undefined
  readonly password: string | undefined
  readonly database: string | undefined
  /** Each name once. */
  readonly parameters: ReadonlyMap<string, string>
}

const FORM = 'The database URL must have the form postgres://user:password@host:port/database'
const SCHEME = /^postgres(?:ql)?:\/\//
/** Names are shown in messages; what is none could be a piece of a password. */
const NAME = /^[A-Za-z_]{1,40}$/
/** No host name has these, and a piece of a password may well (WHATWG URL, "forbidden host code point"). */
const FORBIDDEN = /[\p{Cc}\s#/:<>?@[\\\]^|%,]/u

/**
 * splitUrl takes a connection URI of libpq apart (PostgreSQL manual, "Connection URIs"): several hosts stand with
 * commas in between, each with its port. Unlike there the last `@` ends the password, so that one with a raw `@` is read.
 * @throws Error that says what is wrong and never holds a part of the URL but a parameter's name
 */
export function splitUrl(raw: string): UrlParts {
  const text = raw.trim()
  if (/\p{Cc}/u.test(text))
    throw new Error('The database URL has a raw control character, such as a line end')
  if (!SCHEME.test(text)) throw new Error(FORM)
  if (text.includes('#')) {
    throw new Error('The database URL has a raw #; write %23 for it, as in a password')
  }
  const [, authority = '', path, query] =
    /^([^/?]*)(\/[^?]*)?(?:\?(.*))?$/s.exec(text.replace(SCHEME, '')) ?? []
  const at = authority.lastIndexOf('@')
  if (at === -1 && /@/.test(`${path ?? ''}${query ?? ''}`)) {
    throw new Error(
      'The database URL has a raw / or ? before the @; in a password write %2F for / and %3F for ?',
    )
  }
  const login = at === -1 ? '' : authority.slice(0, at)
  const colon = login.indexOf(':')
  return {
    hosts: splitHosts(authority.slice(at + 1)),
    user: given(decode(colon === -1 ? login : login.slice(0, colon), 'user')),
    password: colon === -1 ? undefined : decode(login.slice(colon + 1), 'password'),
    database: given(decode(path?.slice(1) ?? '', 'database')),
    parameters: splitQuery(query),
  }
}

/**
 * splitHostList reads the parameters `host` and `port`, each a list; one port is for all hosts.
 * @throws Error as splitUrl
 */
export function splitHostList(
  hostList: string,
  portList: string | undefined,
): readonly Partial<HostAddress>[] {
  const hosts = hostList.split(',').map((host) => checkHost(host))
  const ports = portList?.split(',').map(readPort) ?? [undefined]
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new Error("The database URL's port must be one for all hosts, or one for each host")
  }
  return hosts.map((host, index) => ({ host, ...withPort(ports.length === 1 ? ports[0] : ports[index]) }))
}

/** readPort reads a port; undefined when the text is empty. @throws Error as splitUrl */
export function readPort(text: string): number | undefined {
  if (text === '') return undefined
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65_535) return port
  throw new Error(
    'The database URL has a port that is no number from 1 to 65535; in a password write %3A for :, %2F for / and %40 for @',
  )
}

function splitHosts(text: string): readonly Partial<HostAddress>[] {
  const parts = text.split(',')
  if (parts.length > 1 && parts.some((part) => part === '')) {
    throw new Error('The database URL has an empty host between its commas; in a user write %2C for a comma')
  }
  return parts.map((part) => {
    const [, bracketed, plain = '', port = ''] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(part) ?? [
      part,
      undefined,
      '[',
    ]
    const host = decode(bracketed ?? plain, 'host')
    if (bracketed !== undefined && !isIPv6(host))
      throw new Error('The database URL has no IPv6 address between [ and ]')
    return {
      ...(host !== '' && { host: bracketed === undefined ? checkHost(host) : host }),
      ...withPort(readPort(port)),
    }
  })
}

function checkHost(host: string): string {
  if (host.startsWith('/') || isIPv6(host)) return host
  if (host !== '' && !FORBIDDEN.test(host)) return host
  throw new Error(
    'The database URL has a host that is no host name, IP address ([::1] in brackets) or socket directory (%2Frun%2Fpostgresql)',
  )
}

function withPort(port: number | undefined): { port?: number } {
  return port === undefined ? {} : { port }
}

function splitQuery(query: string | undefined): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>()
  if (query === undefined || query === '') return parameters
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=')
    const name = pair.slice(0, equals === -1 ? undefined : equals)
    if (!NAME.test(name) || equals === -1) {
      throw new Error('The database URL must end with parameters of the form name=value&name=value')
    }
    if (parameters.has(name)) throw new Error(`The database URL has the parameter "${name}" twice`)
    parameters.set(name, decode(pair.slice(equals + 1), name))
  }
  return parameters
}

function decode(part: string, name: string): string {
  let text: string
  try {
    text = decodeURIComponent(part)
  } catch {
    throw new Error(
      `The ${name} in the database URL has a % that begins no percent-encoded UTF-8 character; write %25 for a percent sign`,
    )
  }
  // It would end the value in the start-up packet, and begin another one.
  if (text.includes('\0')) throw new Error(`The ${name} in the database URL must not have %00`)
  return text
}

function given(text: string): string | undefined {
  return text === '' ? undefined : text
}
