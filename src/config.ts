import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { parseEnv } from 'node:util'
import {
  check,
  type Environment,
  misspelt,
  readGiven,
  readText,
  tight,
  type Values,
} from './config-values.ts'
import { isSecretName, splitList, VARIABLE_NAMES } from './config-variables.ts'
import { Secret } from './secret.ts'

export type { Environment } from './config-values.ts'

type LogLevel = Values['LOG_LEVEL']

/** TlsConfig is what the HTTPS server needs; certificate and key are PEM text. */
export interface TlsConfig {
  readonly certificate: string
  readonly key: Secret
  readonly passphrase: Secret | undefined
}

/** ConfigVariable is one variable as operators see it: a secret's value is never in it. */
export interface ConfigVariable {
  readonly name: string
  readonly value: string | number | null
  readonly isDefault: boolean
}

/**
 * Config is the whole configuration, checked and frozen. The three secrets may be undefined outside
 * production: server.ts then starts the embedded database and makes the keys.
 */
export interface Config {
  readonly production: boolean
  readonly stateDir: string
  /** Folder of the application's migrations; sql/app when undefined. */
  readonly appSqlDir: string | undefined
  readonly logLevel: LogLevel
  readonly operatorKey: Secret | undefined
  readonly vaultKeys: Secret | undefined
  readonly control: { readonly url: Secret | undefined; readonly maxConnections: number }
  readonly http: {
    readonly host: string
    readonly port: number
    readonly tls: TlsConfig | undefined
    readonly trustProxy: readonly string[]
    readonly corsOrigins: readonly string[]
    readonly bodyLimitBytes: number
    readonly requestTimeoutMs: number
    readonly keepAliveTimeoutMs: number
  }
  readonly shutdown: { readonly delayMs: number; readonly timeoutMs: number }
  readonly access: { readonly trustedNetworks: readonly string[]; readonly apiKeyCacheMs: number }
  readonly tenants: {
    readonly cacheMs: number
    readonly outageMs: number
    readonly jobClaimMs: number
  }
  readonly nodes: { readonly pollMs: number; readonly leaseMs: number }
  readonly pools: {
    readonly maxEntries: number
    readonly maxConnections: number
    readonly sharedMaxConnections: number
    readonly serverMaxConnections: number
    readonly processMaxConnections: number
    readonly maxOpening: number
    readonly maxWaiting: number
    readonly idleMs: number
    readonly maxIdleMs: number
    readonly connectionIdleMs: number
    readonly acquireTimeoutMs: number
    readonly connectTimeoutMs: number
    readonly statementTimeoutMs: number
    readonly drainTimeoutMs: number
    readonly thrashMs: number
    readonly breakerBaseMs: number
    readonly breakerMaxMs: number
  }
  /** What one login role of a tenant can take from its server; part of the role when it is made. */
  readonly roles: {
    readonly connectionLimit: number
    readonly statementTimeoutMs: number
    readonly idleInTransactionTimeoutMs: number
    readonly tempFileLimitKb: number
  }
  /** What the logins of tenants may do on a data server. */
  readonly watchdog: {
    readonly isOn: boolean
    readonly intervalMs: number
    readonly lockPart: number
    readonly blockingMs: number
    readonly transactionMs: number
    readonly sessionPart: number
    readonly offences: number
    readonly offenceMs: number
  }
  /** Limit of one statement's answer; see RESULT_TOO_LARGE. */
  readonly maxResultBytes: number
  readonly sweepCron: string
  readonly isolationCron: string
  readonly variables: readonly ConfigVariable[]
  /** Sentences about variables that look misspelt. */
  readonly warnings: readonly string[]
}

/** ConfigError names every wrong or missing variable, with what would be right, and no secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(['The configuration is not valid:', ...problems].join('\n  '))
    this.problems = problems
  }
}

/**
 * loadConfig reads the configuration from `environment`, by default from `process.env` and, beneath
 * it, the `.env` file of the working directory.
 * @throws ConfigError
 */
export function loadConfig(environment: Environment = readEnvironment()): Config {
  const problems: string[] = []
  const given = readGiven(environment, problems)
  const values = check(given, problems)
  const tls = readTls(values, problems)
  if (problems.length > 0) throw new ConfigError(problems)
  return deepFreeze(assemble(values, given, tls))
}

/** readEnvironment is `process.env` and, beneath it, the `.env` file of the working directory. */
export function readEnvironment(): Environment {
  return { ...readDotenv(), ...process.env }
}

function readDotenv(): Environment {
  try {
    return parseEnv(readFileSync('.env', 'utf8'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {}
    throw error
  }
}

function readTls(values: Values, problems: string[]): TlsConfig | undefined {
  if (values.TLS_CERT_FILE === undefined || values.TLS_KEY_FILE === undefined) return undefined
  const certificate = readText('TLS_CERT_FILE', values.TLS_CERT_FILE, problems)
  const key = readText('TLS_KEY_FILE', values.TLS_KEY_FILE, problems)
  if (certificate === undefined || key === undefined) return undefined
  const passphrase = values.TLS_KEY_PASSPHRASE
  try {
    createSecureContext({ cert: certificate, key, ...(passphrase !== undefined && { passphrase }) })
  } catch (error) {
    // OpenSSL's reason ("bad decrypt", "key values mismatch") names no content.
    const reason = error instanceof Error ? error.message : 'unknown reason'
    problems.push(
      `TLS_CERT_FILE, TLS_KEY_FILE and TLS_KEY_PASSPHRASE must be a certificate, its private key and ` +
        `the key's passphrase: ${reason}`,
    )
  }
  return { certificate, key: new Secret(key), passphrase: toSecret(passphrase) }
}

function assemble(values: Values, given: Environment, tls: TlsConfig | undefined): Config {
  const production = values.NODE_ENV === 'production'
  const embedded = values.DATABASE_URL === undefined
  return {
    production,
    stateDir: values.STATE_DIR,
    appSqlDir: values.APP_SQL_DIR,
    logLevel: values.LOG_LEVEL,
    operatorKey: toSecret(values.OPERATOR_KEY),
    vaultKeys: toSecret(values.VAULT_KEYS),
    control: { url: toSecret(values.DATABASE_URL), maxConnections: values.CONTROL_MAX_CONNECTIONS },
    http: {
      host: values.HOST,
      port: values.PORT,
      tls,
      trustProxy: networks(values.TRUST_PROXY ?? ''),
      corsOrigins: splitList(values.CORS_ORIGINS ?? ''),
      bodyLimitBytes: values.BODY_LIMIT_BYTES,
      requestTimeoutMs: values.REQUEST_TIMEOUT_MS,
      keepAliveTimeoutMs: values.KEEP_ALIVE_TIMEOUT_MS,
    },
    shutdown: { delayMs: values.SHUTDOWN_DELAY_MS, timeoutMs: values.SHUTDOWN_TIMEOUT_MS },
    access: {
      trustedNetworks: networks(values.TRUSTED_NETWORKS ?? (embedded ? '127.0.0.0/8,::1/128' : '')),
      apiKeyCacheMs: values.API_KEY_CACHE_SECONDS * 1000,
    },
    tenants: {
      cacheMs: values.TENANT_CACHE_SECONDS * 1000,
      outageMs: values.CONTROL_OUTAGE_SECONDS * 1000,
      jobClaimMs: values.JOB_CLAIM_SECONDS * 1000,
    },
    nodes: { pollMs: values.CHANGE_POLL_MS, leaseMs: values.NODE_LEASE_SECONDS * 1000 },
    pools: {
      maxEntries: values.POOL_MAX_ENTRIES,
      maxConnections: values.POOL_MAX_CONNECTIONS,
      sharedMaxConnections: values.ROW_MAX_CONNECTIONS,
      serverMaxConnections: values.SERVER_MAX_CONNECTIONS,
      processMaxConnections: values.PROCESS_MAX_CONNECTIONS,
      maxOpening: values.POOL_MAX_OPENING,
      maxWaiting: values.POOL_MAX_WAITING,
      idleMs: values.POOL_IDLE_SECONDS * 1000,
      maxIdleMs: Math.max(values.POOL_IDLE_SECONDS, values.POOL_MAX_IDLE_SECONDS) * 1000,
      connectionIdleMs: values.POOL_CONNECTION_IDLE_SECONDS * 1000,
      acquireTimeoutMs: values.POOL_ACQUIRE_TIMEOUT_MS,
      connectTimeoutMs: values.POOL_CONNECT_TIMEOUT_MS,
      statementTimeoutMs: values.STATEMENT_TIMEOUT_MS,
      drainTimeoutMs: values.POOL_DRAIN_TIMEOUT_MS,
      thrashMs: values.POOL_THRASH_SECONDS * 1000,
      breakerBaseMs: values.BREAKER_BASE_MS,
      breakerMaxMs: values.BREAKER_MAX_MS,
    },
    roles: {
      connectionLimit: values.ROLE_CONNECTION_LIMIT,
      statementTimeoutMs: values.STATEMENT_TIMEOUT_MS,
      idleInTransactionTimeoutMs: values.ROLE_IDLE_IN_TRANSACTION_TIMEOUT_MS,
      tempFileLimitKb: values.ROLE_TEMP_FILE_LIMIT_KB,
    },
    watchdog: {
      isOn: values.WATCHDOG === 'on',
      intervalMs: values.WATCHDOG_INTERVAL_MS,
      lockPart: values.WATCHDOG_LOCK_PERCENT / 100,
      blockingMs: values.WATCHDOG_BLOCKING_MS,
      transactionMs: values.WATCHDOG_TRANSACTION_MS,
      sessionPart: values.WATCHDOG_RESERVE_PERCENT / 100,
      offences: values.WATCHDOG_OFFENCES,
      offenceMs: values.WATCHDOG_OFFENCE_SECONDS * 1000,
    },
    maxResultBytes: values.MAX_RESULT_BYTES,
    sweepCron: values.SWEEP_CRON,
    isolationCron: values.ISOLATION_CRON,
    variables: VARIABLE_NAMES.map((name) => ({
      name,
      value: values[name] === undefined ? null : isSecretName(name) ? '[secret]' : values[name],
      isDefault: given[name] === undefined,
    })),
    warnings: [...misspelt(given), ...tight(values)],
  }
}

function networks(value: string): readonly string[] {
  return value === 'none' ? [] : splitList(value)
}

function toSecret(value: string | undefined): Secret | undefined {
  return value === undefined ? undefined : new Secret(value)
}

function deepFreeze<T extends object>(value: T): T {
  for (const child of Object.values(value)) {
    if (typeof child === 'object' && child !== null) deepFreeze(child)
  }
  return Object.freeze(value)
}
