import { join } from 'node:path'
import { formatApiKey, makeApiKey } from './access/api-key.ts'
import type { Config } from './config.ts'
import { EmbeddedError } from './embedded/errors.ts'
import type { Embedded } from './embedded/start-embedded.ts'
import { StateDir } from './embedded/state-dir.ts'
import type { Secret } from './secret.ts'
import { generateVaultKeys } from './vault/key-ring.ts'

const OPERATOR_KEY_FILE = 'operator-key'
const VAULT_KEYS_FILE = 'vault-keys'
const DATABASE_FOLDER = 'postgres'

/** LocalState is a configuration with everything in it, and what was made to complete it. */
export interface LocalState {
  readonly config: Config
  readonly database: Embedded | undefined
  /** Where the operator key lies; undefined when the configuration has it. */
  readonly operatorKeyFile: string | undefined
  /** Whether this start made the operator key. */
  readonly isFirstStart: boolean
}

export interface LocalStateOptions {
  readonly config: Config
  /** Hears what an operator should know, one sentence at a time. */
  readonly log: (message: string) => void
  /** Aborts the start of the embedded database. */
  readonly signal: AbortSignal
}

/**
 * prepareLocalState makes, under STATE_DIR, what the configuration leaves open: the keys, and an
 * embedded database. In production it leaves nothing open, and nothing is made.
 * @throws EmbeddedError, EmbeddedInUse
 */
export async function prepareLocalState({ config, log, signal }: LocalStateOptions): Promise<LocalState> {
  const { control, operatorKey, vaultKeys } = config
  if (control.url !== undefined && operatorKey !== undefined && vaultKeys !== undefined) {
    return { config, database: undefined, operatorKeyFile: undefined, isFirstStart: false }
  }
  const state = await StateDir.open(config.stateDir, log)
  const operator = await stored(state, OPERATOR_KEY_FILE, operatorKey, makeOperatorKey)
  const vault = await stored(state, VAULT_KEYS_FILE, vaultKeys, generateVaultKeys)
  // Last: nothing after it can fail and leave it running.
  const database = control.url === undefined ? await startDatabase(state, log, signal) : undefined
  return {
    config: {
      ...config,
      operatorKey: operator.secret,
      vaultKeys: vault.secret,
      control: { ...control, url: control.url ?? database?.url },
    },
    database,
    operatorKeyFile: operatorKey === undefined ? join(config.stateDir, OPERATOR_KEY_FILE) : undefined,
    isFirstStart: operator.created,
  }
}

/**
 * readLocalState completes a configuration by what a service has made under STATE_DIR: its keys, and its
 * embedded database while that runs. It makes nothing.
 * @throws EmbeddedError when the database does not run
 */
export async function readLocalState(config: Config): Promise<Config> {
  const { control, operatorKey, vaultKeys } = config
  if (control.url !== undefined && operatorKey !== undefined && vaultKeys !== undefined) return config
  const state = StateDir.existing(config.stateDir)
  return {
    ...config,
    operatorKey: operatorKey ?? (await state.readSecret(OPERATOR_KEY_FILE)),
    vaultKeys: vaultKeys ?? (await state.readSecret(VAULT_KEYS_FILE)),
    control: { ...control, url: control.url ?? (await findDatabase(state)) },
  }
}

async function findDatabase(state: StateDir): Promise<Secret> {
  const { findEmbedded } = await import('./embedded/find-embedded.ts')
  const url = await findEmbedded(join(state.path, DATABASE_FOLDER))
  if (url !== undefined) return url
  throw new EmbeddedError(
    `No embedded PostgreSQL runs under ${state.path}. Start the service (npm start, or lessor serve), or set DATABASE_URL.`,
  )
}

async function startDatabase(
  state: StateDir,
  log: (message: string) => void,
  signal: AbortSignal,
): Promise<Embedded> {
  // A production image has no embedded database and does not load this.
  const { startEmbedded } = await import('./embedded/start-embedded.ts')
  return startEmbedded({ directory: join(state.path, DATABASE_FOLDER), log, signal })
}

async function stored(
  state: StateDir,
  name: string,
  given: Secret | undefined,
  make: () => string,
): Promise<{ readonly secret: Secret; readonly created: boolean }> {
  return given === undefined ? state.readOrCreateSecret(name, make) : { secret: given, created: false }
}

function makeOperatorKey(): string {
  return formatApiKey(makeApiKey()).reveal()
}
