import { type Config, loadConfig } from '../config.ts'
import { createLogger } from '../http/logger.ts'
import type { Lessor, Opening } from '../lessor.ts'
import { readLocalState } from '../local-state.ts'
import type { CliIo } from './command.ts'

/** A command works on a few things at once; the nodes that serve need the connections more. */
const CONTROL_CONNECTIONS = 4

/**
 * withLessor runs `fn` on a Lessor that does not serve: no HTTP, no jobs, no node and so no share of the
 * tenants' connections. It is configured as the service is, and closed when `fn` has ended. The log goes
 * to standard error, from level `warn` on unless LOG_LEVEL says otherwise.
 * @throws ConfigError, EmbeddedError, and what Lessor.open throws
 */
export async function withLessor<T>(
  io: CliIo,
  fn: (lessor: Lessor) => Promise<T>,
  opening?: Opening,
): Promise<T> {
  const config = await readLocalState(loadConfig(io.environment))
  // All of the service: `lessor help` and a wrong argument need not wait for it.
  const { createLessor } = await import('../lessor.ts')
  const { logger } = createLogger(logLevel(config), { write: (line) => io.stderr.write(line) })
  for (const warning of config.warnings) logger.warn(warning)
  const maxConnections = Math.min(config.control.maxConnections, CONTROL_CONNECTIONS)
  const lessor = createLessor({ ...config, control: { ...config.control, maxConnections } }, { logger })
  try {
    io.signal.throwIfAborted()
    await lessor.open(opening)
    return await fn(lessor)
  } finally {
    await lessor.close()
  }
}

function logLevel({ logLevel, variables }: Config): string {
  const isDefault = variables.some(({ name, isDefault }) => name === 'LOG_LEVEL' && isDefault)
  return isDefault ? 'warn' : logLevel
}
