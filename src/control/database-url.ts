import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type HostAddress, type ServerWay, TLS_MODES, type TlsMode, wayOf } from '../pool/contract.ts'
import { RootCertificates } from '../pool/root-certificates.ts'
import { Secret } from '../secret.ts'
import { checkParameter } from './url-parameters.ts'
import { readPort, splitHostList, splitUrl, type UrlParts } from './url-parts.ts'

/** DatabaseAddress is a parsed database URL: where a server is, and as whom to log in. */
export interface DatabaseAddress extends ServerWay {
  readonly database: string
  readonly user: string
  readonly password: Secret
}

/** GivenWay is what a request says of the way beside its URL; it takes the place of the URL's parameters. */
export interface GivenWay {
  readonly tls?: TlsMode | undefined
  /** PEM text. */
  readonly rootCertificates?: string | undefined
  /** Those that are used when neither the request nor the URL names any. */
  readonly kept?: RootCertificates | undefined
}

const DEFAULT_PORT = 5432
/** The parameters that stand for a part of the URL. */
const PARTS = new Set(['host', 'port', 'dbname', 'user', 'password'])

/**
 * parseDatabaseUrl reads a URL of this process's own configuration,
 * `postgres://user:password@host:port/database?sslmode=...`, in libpq's form: several hosts stand with commas in
 * between, a socket directory percent-encoded in the host's place or as `host=/run/postgresql`. Without `sslmode`
 * the connection is not encrypted. The file that `sslrootcert` names is read.
 * @throws Error that says what is wrong and what would be right, and never holds the URL: of its
 *   parts only a parameter's name and a file's path
 */
export function parseDatabaseUrl(text: string): DatabaseAddress {
  return parse(text, readCertificates)
}

/**
 * parseServerUrl reads the URL of a request. It may name no file: the other processes do not have it, and a
 * caller must not learn from the answer what can be read here.
 * @throws Error as parseDatabaseUrl
 */
export function parseServerUrl(text: string, given: GivenWay = {}): DatabaseAddress {
  const refuseFile = (): never => {
    throw new Error(
      'The database URL must not have the parameter "sslrootcert" with a file, which other processes do not have: ' +
        'send the certificates themselves as root_certificates, or write sslrootcert=system',
    )
  }
  return parse(text, refuseFile, given)
}

type ReadCertificates = (path: string) => RootCertificates

function parse(text: string, read: ReadCertificates, given: GivenWay = {}): DatabaseAddress {
  const parts = splitUrl(text)
  const { parameters } = parts
  for (const [name, value] of parameters) {
    if (!PARTS.has(name) && !TLS_PARAMETERS.has(name)) checkParameter(name, value)
  }
  const user = partOf(parameters, 'user', parts.user)
  const database = partOf(parameters, 'dbname', parts.database)
  const [first, ...alternates] = hosts(parts)
  if (user === undefined || user === '' || database === undefined || database === '' || first === undefined) {
    throw new Error('The database URL must name a user, a host and a database')
  }
  const trust = readTrust(parameters, read, given)
  if (trust.tls !== 'disable' && [first, ...alternates].some(({ host }) => host.startsWith('/'))) {
    throw new Error(
      'The database URL must have no sslmode but disable with a socket directory, which has no TLS',
    )
  }
  return {
    ...wayOf({ ...first, alternates, ...trust }),
    database,
    user,
    password: new Secret(partOf(parameters, 'password', parts.password) ?? ''),
  }
}

/** A part stands in its place or is a parameter, not both. */
function partOf(
  parameters: UrlParts['parameters'],
  name: string,
  inPlace: string | undefined,
): string | undefined {
  const parameter = parameters.get(name)
  if (parameter !== undefined && inPlace !== undefined) {
    throw new Error(
      `The database URL has the parameter "${name}" and says the same in its place: leave out one of them`,
    )
  }
  return parameter ?? inPlace
}

function hosts(parts: UrlParts): readonly HostAddress[] {
  const { parameters } = parts
  const inPlace = parts.hosts.some(({ host, port }) => host !== undefined || port !== undefined)
  const list = partOf(parameters, 'host', inPlace ? '' : undefined)
  const port = parameters.get('port')
  if (list !== undefined && list !== '') return withPorts(splitHostList(list, port))
  if (port === undefined) return withPorts(parts.hosts)
  if (parts.hosts.some((each) => each.port !== undefined)) {
    throw new Error(
      'The database URL has the parameter "port" and a port in its place: leave out one of them',
    )
  }
  const all = readPort(port)
  return withPorts(parts.hosts.map((each) => ({ ...each, ...(all !== undefined && { port: all }) })))
}

function withPorts(hosts: readonly Partial<HostAddress>[]): readonly HostAddress[] {
  return hosts.flatMap(({ host, port = DEFAULT_PORT }) => (host === undefined ? [] : [{ host, port }]))
}

const TLS_PARAMETERS = new Set(['ssl', 'sslmode', 'sslrootcert'])
type Trust = Pick<DatabaseAddress, 'tls' | 'rootCertificates'>

/** With libpq's rules: the system's certificates are for verify-full, and a list makes `require` check them. */
function readTrust(parameters: UrlParts['parameters'], read: ReadCertificates, given: GivenWay): Trust {
  const rootCertificates = readRoots(parameters, read, given)
  const asked = given.tls ?? readMode(parameters)
  if (rootCertificates === undefined) return { tls: asked ?? 'disable' }
  if (rootCertificates.isSystem) {
    if (asked === undefined || asked === 'verify-full') return { tls: 'verify-full', rootCertificates }
    throw new Error(
      'The database URL must have sslmode=verify-full with sslrootcert=system: anyone gets a certificate of these',
    )
  }
  if (asked === undefined || asked === 'disable') {
    throw new Error(
      'The root certificates are of no use without TLS: write sslmode=verify-full into the database URL, or name none',
    )
  }
  return { tls: asked === 'require' ? 'verify-ca' : asked, rootCertificates }
}

function readMode(parameters: UrlParts['parameters']): TlsMode | undefined {
  // As libpq does for URLs of JDBC.
  const ssl = parameters.get('ssl')
  if (ssl !== undefined && ssl !== 'true')
    throw new Error('The database URL must have sslmode=... instead of the parameter "ssl"')
  const mode = partOf(parameters, 'sslmode', ssl === undefined ? undefined : 'require')
  if (mode === undefined) return undefined
  const known = TLS_MODES.find((each) => each === mode)
  if (known !== undefined) return known
  if (mode === 'prefer' || mode === 'allow') {
    throw new Error(
      `The database URL must not have sslmode=${mode}, which goes on without TLS when it cannot be had: ` +
        'write require or verify-full where the server has TLS, else disable',
    )
  }
  throw new Error(
    `The database URL's sslmode must be ${TLS_MODES.slice(0, -1).join(', ')} or ${TLS_MODES.at(-1)}`,
  )
}

function readRoots(
  parameters: UrlParts['parameters'],
  read: ReadCertificates,
  given: GivenWay,
): RootCertificates | undefined {
  const named = parameters.get('sslrootcert')
  if (given.rootCertificates === undefined) {
    if (named === undefined) return given.kept
    if (named !== 'system') return read(named)
    return saying("The database URL's sslrootcert=system", RootCertificates.system)
  }
  if (named !== undefined) {
    throw new Error(
      'The root certificates stand in the request and in the URL as sslrootcert: leave out one of them',
    )
  }
  const pem = given.rootCertificates
  return saying('The text of root_certificates', () => RootCertificates.parse(pem))
}

function readCertificates(path: string): RootCertificates {
  return saying(`The file ${JSON.stringify(path)} of the database URL's sslrootcert`, () =>
    RootCertificates.parse(readPem(path), resolve(path)),
  )
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
    throw new Error(`cannot be read (${code})`)
  }
}

function saying(subject: string, make: () => RootCertificates): RootCertificates {
  try {
    return make()
  } catch (error) {
    throw new Error(`${subject} ${error instanceof Error ? error.message : 'cannot be used'}`)
  }
}
