import { isIP } from 'node:net'
import { Type } from 'typebox'

/** Longest delay that a Node timer takes (setTimeout, 2^31 - 1 ms). */
const MAX_TIMER_MS = 2_147_483_647

function integer(fallback: number, meaning: string, minimum: number, maximum: number) {
  const title = `an integer from ${minimum} to ${maximum}`
  return Type.Integer({ default: fallback, description: meaning, title, minimum, maximum })
}

const count = (fallback: number, meaning: string, minimum = 1) => integer(fallback, meaning, minimum, 100_000)
const milliseconds = (fallback: number, meaning: string, minimum = 1) =>
  integer(fallback, meaning, minimum, MAX_TIMER_MS)
const seconds = (fallback: number, meaning: string) =>
  integer(fallback, meaning, 1, Math.floor(MAX_TIMER_MS / 1000))

function choice<const Value extends string>(fallback: Value, meaning: string, values: readonly Value[]) {
  return Type.Unsafe<Value>(
    Type.String({
      default: fallback,
      description: meaning,
      title: `one of ${values.join(', ')}`,
      enum: values,
    }),
  )
}

function text(fallback: string, meaning: string, title: string, format?: Format) {
  return Type.String({ default: fallback, description: meaning, title, ...(format && { format }) })
}

function optional(meaning: string, title: string, format?: Format) {
  return Type.Optional(Type.String({ description: meaning, title, ...(format && { format }) }))
}

const SIX_FIELDS = /^[0-9A-Za-z*?,/#-]+( +[0-9A-Za-z*?,/#-]+){5}$/

/** FORMATS checks what JSON Schema has no word for; none of them puts the value into a message. */
export const FORMATS = {
  networks: (value: string) => splitList(value).every(isNetwork) || value === 'none',
  origins: (value: string) => splitList(value).every(isOrigin),
  'postgres-url': isPostgresUrl,
  'operator-key': (value: string) => /^[!-~]{32,}$/.test(value),
  'key-ring': isKeyRing,
  'six-fields': (value: string) => SIX_FIELDS.test(value),
  'six-fields-or-off': (value: string) => value === 'off' || SIX_FIELDS.test(value),
} as const
type Format = keyof typeof FORMATS

const NETWORKS = 'a comma-separated list of networks, such as 10.0.0.0/8,fd00::/8, or none'
const FILE = 'the path of a readable file'

/**
 * VARIABLES is every environment variable that Lessor reads. `title` says what would be right,
 * `description` what it means; .env.example holds the same names, defaults and meanings.
 */
export const VARIABLES = Type.Object({
  NODE_ENV: choice('development', 'in production nothing is embedded and no key is made', [
    'development',
    'production',
    'test',
  ]),
  HOST: text('127.0.0.1', 'address to listen on; 0.0.0.0 in production', 'an address or host name'),
  PORT: integer(8080, 'port to listen on; 0 takes a free one and prints it', 0, 65_535),
  LOG_LEVEL: choice('info', 'least severe level that is logged', [
    'fatal',
    'error',
    'warn',
    'info',
    'debug',
    'trace',
    'silent',
  ]),
  STATE_DIR: text('.lessor', 'folder of the embedded database and of the keys made at first start', 'a path'),
  APP_SQL_DIR: optional("folder of the application's migrations; Lessor's own sql/app when unset", 'a path'),

  DATABASE_URL: optional(
    'control database and first data server, as a role that may create roles; embedded when unset',
    'postgres://user:password@host:port/database, several hosts with commas in between',
    'postgres-url',
  ),
  DATABASE_URL_FILE: optional('file that holds DATABASE_URL', FILE),
  CONTROL_MAX_CONNECTIONS: count(10, 'connections to the control database'),

  OPERATOR_KEY: optional(
    'bearer key of the control plane; made at first start',
    'at least 32 printable ASCII characters without spaces',
    'operator-key',
  ),
  OPERATOR_KEY_FILE: optional('file that holds OPERATOR_KEY', FILE),
  VAULT_KEYS: optional(
    'key ring that seals credentials, the first key seals; made at first start',
    '<id>:<64 hex digits>, more keys after commas, each id and key once',
    'key-ring',
  ),
  VAULT_KEYS_FILE: optional('file that holds VAULT_KEYS', FILE),
  TRUSTED_NETWORKS: optional(
    'networks whose callers name a tenant by x-tenant-id alone; loopback with the embedded database, else none',
    NETWORKS,
    'networks',
  ),
  TRUST_PROXY: optional('networks of the proxies whose X-Forwarded-For counts', NETWORKS, 'networks'),
  API_KEY_CACHE_SECONDS: seconds(60, 'how long a verified API key is not verified again'),
  TENANT_CACHE_SECONDS: seconds(5, 'how long a tenant looked up is not looked up again'),
  CONTROL_OUTAGE_SECONDS: seconds(
    600,
    'how long known tenants and keys are still served while the control database is down',
  ),
  CHANGE_POLL_MS: milliseconds(1000, 'how often the changes of other processes are looked for', 50),
  NODE_LEASE_SECONDS: seconds(15, 'when a silent process loses its share of the connections'),
  ROLE_CONNECTION_LIMIT: count(
    0,
    'sessions that a tenant role may have at its server, over all processes; 0: twice what their pools may open',
    0,
  ),
  ROLE_TEMP_FILE_LIMIT_KB: integer(
    1_048_576,
    'temporary disk space of one session of a tenant role',
    64,
    MAX_TIMER_MS,
  ),
  ROLE_IDLE_IN_TRANSACTION_TIMEOUT_MS: milliseconds(
    60_000,
    'when a session of a tenant role that idles in a transaction is ended',
  ),
  WATCHDOG: choice('on', 'whether logins of tenants that hurt others on a data server are ended there', [
    'on',
    'off',
  ]),
  WATCHDOG_INTERVAL_MS: milliseconds(1000, 'how often each data server is looked at, by one process', 100),
  WATCHDOG_LOCK_PERCENT: integer(12, "part of a server's lock table that one login may have", 1, 100),
  WATCHDOG_BLOCKING_MS: milliseconds(1000, 'longest time that a login may make others wait for a lock'),
  WATCHDOG_TRANSACTION_MS: milliseconds(600_000, "longest transaction of a tenant's login"),
  WATCHDOG_RESERVE_PERCENT: integer(10, "part of a server's sessions that is kept free", 0, 50),
  WATCHDOG_OFFENCES: count(3, 'so many times ended, a login is blocked'),
  WATCHDOG_OFFENCE_SECONDS: seconds(600, 'within which time they are counted'),
  JOB_CLAIM_SECONDS: seconds(60, 'when the unfinished job of a dead process is taken over'),

  TLS_CERT_FILE: optional('certificate chain, PEM; HTTPS when set', FILE),
  TLS_KEY_FILE: optional('private key of the certificate, PEM', FILE),
  TLS_KEY_PASSPHRASE: optional('passphrase of the private key', 'the passphrase of TLS_KEY_FILE'),
  TLS_KEY_PASSPHRASE_FILE: optional('file that holds TLS_KEY_PASSPHRASE', FILE),
  CORS_ORIGINS: optional(
    'origins of browser apps that may call; none when unset',
    'a comma-separated list of origins, such as https://app.example.com, or *',
    'origins',
  ),
  BODY_LIMIT_BYTES: integer(
    1_048_576,
    'largest body of a batch of tenants; others are 16 kB at most',
    1024,
    1_073_741_824,
  ),
  REQUEST_TIMEOUT_MS: milliseconds(30_000, 'longest time for a request, after which it gets 504', 100),
  KEEP_ALIVE_TIMEOUT_MS: milliseconds(72_000, 'how long an idle HTTP connection stays open'),
  SHUTDOWN_DELAY_MS: milliseconds(0, 'how long to serve on, not ready, between SIGTERM and closing', 0),
  SHUTDOWN_TIMEOUT_MS: milliseconds(40_000, 'longest time from SIGTERM to exit; longer than delay and drain'),

  POOL_MAX_ENTRIES: count(500, 'resident pools'),
  POOL_MAX_CONNECTIONS: count(4, 'connections of one tenant'),
  ROW_MAX_CONNECTIONS: count(16, 'connections that the tenants of placement row share, of one data server'),
  SERVER_MAX_CONNECTIONS: count(80, 'connections to one data server, all tenants'),
  PROCESS_MAX_CONNECTIONS: count(400, 'connections of this process to all data servers'),
  POOL_MAX_OPENING: count(8, 'connections being opened at once'),
  POOL_MAX_WAITING: count(1000, 'callers that may wait for a connection at once', 0),
  POOL_IDLE_SECONDS: seconds(600, 'when an idle pool is evicted'),
  POOL_MAX_IDLE_SECONDS: seconds(3600, 'longest idle time that a pool gets which was evicted too early'),
  POOL_CONNECTION_IDLE_SECONDS: seconds(60, 'when an idle connection of a pool in use is closed'),
  POOL_ACQUIRE_TIMEOUT_MS: milliseconds(5000, 'longest wait for a connection'),
  POOL_CONNECT_TIMEOUT_MS: milliseconds(5000, 'longest time to open a connection'),
  POOL_DRAIN_TIMEOUT_MS: milliseconds(30_000, 'longest wait for leases when a pool closes'),
  POOL_THRASH_SECONDS: seconds(60, 'reopening within this time of an eviction counts as thrash'),
  BREAKER_BASE_MS: milliseconds(500, 'first pause after failed logins of a tenant or data server'),
  BREAKER_MAX_MS: milliseconds(30_000, 'longest pause after failed logins'),
  STATEMENT_TIMEOUT_MS: milliseconds(15_000, 'longest time for a statement, after which it is cancelled'),
  MAX_RESULT_BYTES: integer(
    67_108_864,
    'largest answer of a statement, in bytes, 64 more counted for each row and 16 for each value',
    1_024,
    1_073_741_824,
  ),
  SWEEP_CRON: text(
    '*/30 * * * * *',
    'when idle pools are swept',
    'a cron expression of six fields, seconds first',
    'six-fields',
  ),
  ISOLATION_CRON: text(
    '0 0 * * * *',
    'when the walls between tenants are tried, or off',
    'a cron expression of six fields, seconds first, or off',
    'six-fields-or-off',
  ),
})
export type VariableName = keyof typeof VARIABLES.properties

/** VARIABLE_NAMES is every name in {@link VARIABLES}, in the order of .env.example. */
export const VARIABLE_NAMES = Object.keys(VARIABLES.properties) as readonly VariableName[]

/** SECRET_NAMES never appear with their value: not in a message, not in `/ops/config`. */
export const SECRET_NAMES = [
  'DATABASE_URL',
  'OPERATOR_KEY',
  'VAULT_KEYS',
  'TLS_KEY_PASSPHRASE',
] as const satisfies readonly VariableName[]

/** isSecretName says whether the variable's value is a secret. */
export function isSecretName(name: string): boolean {
  return SECRET_NAMES.some((secret) => secret === name)
}

/** splitList splits a comma-separated value and trims its items; empty items are dropped. */
export function splitList(value: string): readonly string[] {
  return value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

function isNetwork(item: string): boolean {
  const [address = '', prefix, ...rest] = item.split('/')
  const family = isIP(address)
  if (family === 0 || address.includes('%') || rest.length > 0) return false
  if (prefix === undefined) return true
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128)
}

function isOrigin(item: string): boolean {
  if (item === '*') return true
  const url = URL.parse(item)
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === item
}

/** The rest is for parseDatabaseUrl, which is a level above and says what exactly is wrong. */
function isPostgresUrl(value: string): boolean {
  return /^postgres(ql)?:\/\//.test(value)
}

/** Says what parseVaultKeys says, which is a level above: ids and keys are each there once. */
function isKeyRing(value: string): boolean {
  const keys = value.split(',').map((key) => key.trim().split(':'))
  return (
    keys.every(([id, hex, ...rest]) => isKeyId(id) && isKeyHex(hex) && rest.length === 0) &&
    new Set(keys.map(([id]) => id)).size === keys.length &&
    new Set(keys.map(([, hex]) => hex?.toLowerCase())).size === keys.length
  )
}

function isKeyId(text = ''): boolean {
  return /^[A-Za-z0-9_-]{1,32}$/.test(text)
}

function isKeyHex(text = ''): boolean {
  return /^[0-9a-f]{64}$/i.test(text)
}
