#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import { banner, serviceUrl } from './banner.ts'
import { type Config, ConfigError, loadConfig } from './config.ts'
import { LessorError } from './errors.ts'
import { createLogger, type Logger } from './http/logger.ts'
import { createLessor, type Lessor } from './lessor.ts'
import { prepareLocalState } from './local-state.ts'
import { startError } from './start-error.ts'
import { readVersion } from './version.ts'

/** How often connections that have become idle are closed while the server closes. */
const CLOSE_IDLE_MS = 50
/** How long the answers of requests whose statements were cut have to reach their callers. */
const ANSWER_MS = 500

await main()

async function main(): Promise<void> {
  const config = readConfig()
  const { logger, flush } = createLogger(config.logLevel)
  process.on('exit', flush)
  for (const warning of config.warnings) logger.warn(warning)

  const stop = new AbortController()
  const resources = new AsyncDisposableStack()
  const started = start(config, logger, resources, stop.signal)
  closeWithGrace(
    {
      delay: config.shutdown.timeoutMs,
      logger: false,
      onSecondSignal: (signal) => logger.warn({ signal }, 'second signal, exiting at once'),
      onSecondError: (err) => logger.fatal({ err }, 'error while shutting down, exiting at once'),
      onTimeout: () => logger.error('shutdown took too long, exiting at once'),
    },
    async ({ signal, err }) => {
      if (err === undefined) logger.info({ signal }, 'shutting down')
      else logger.fatal({ err }, 'uncaught error, shutting down')
      stop.abort()
      // Its failure is reported below.
      await Promise.allSettled([started])
      await resources.disposeAsync()
      logger.info('stopped')
    },
  )

  try {
    await started
  } catch (error) {
    if (stop.signal.aborted) return
    const explained = startError(error, config.http)
    if (explained === undefined) logger.fatal({ err: error }, 'start failed')
    else process.stderr.write(`${explained}\n`)
    await resources.disposeAsync()
    process.exit(1)
  }
}

function readConfig(): Config {
  try {
    return loadConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  }
}

/** start brings everything up; what was started is in `resources`, also when it throws. */
async function start(
  given: Config,
  logger: Logger,
  resources: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<void> {
  const log = (message: string) => logger.info(message)
  const { config, database, operatorKeyFile, isFirstStart } = await prepareLocalState({
    config: given,
    log,
    signal,
  })
  if (database !== undefined) resources.defer(() => database.stop())
  const lessor = createLessor(config, { logger })
  const app = await buildApp(lessor)
  resources.defer(() => drain(app, lessor))
  signal.throwIfAborted()

  const { host, port, tls } = config.http
  await app.listen({ host, port })
  const address = app.server.address()
  if (config.production || config.operatorKey === undefined || typeof address !== 'object' || !address) return
  process.stderr.write(
    banner({
      version: readVersion(),
      url: serviceUrl(tls === undefined ? 'http' : 'https', address),
      operatorKey: config.operatorKey,
      operatorKeyFile,
      showsKey: isFirstStart,
    }),
  )
}

/** drain lets requests under way finish, and cuts those that are left at the drain deadline; the log says what was cut. */
async function drain(app: FastifyInstance, lessor: Lessor): Promise<void> {
  const { config, health, logger, pools } = lessor
  health.drain()
  await sleep(config.shutdown.delayMs)
  // Node closes the idle connections once; those whose request ends later would wait for their time out.
  const closing = setInterval(() => app.server.closeIdleConnections(), CLOSE_IDLE_MS)
  const deadline = setTimeout(() => void cut(), config.pools.drainTimeoutMs)
  try {
    await app.close()
  } finally {
    clearInterval(closing)
    clearTimeout(deadline)
  }

  /** Statements are cancelled at the server, so that their callers hear why; who is left then loses the connection. */
  async function cut(): Promise<void> {
    logger.warn('requests under way are cut: they took longer than the drain deadline')
    await pools.destroy(new LessorError('SHUTTING_DOWN'))
    await sleep(ANSWER_MS)
    app.server.closeAllConnections()
  }
}
