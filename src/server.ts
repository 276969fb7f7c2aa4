#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import { banner, serviceUrl } from './banner.ts'
import { systemClock } from './clock.ts'
import { type Config, ConfigError, loadConfig } from './config.ts'
import { LessorError } from './errors.ts'
import { createLogger, type Logger } from './http/logger.ts'
import { createLessor, type Lessor } from './lessor.ts'
import { prepareLocalState } from './local-state.ts'
import { argumentsRefused, startError } from './start-error.ts'
import { listenForStop, STOP_SIGNALS } from './stop-signals.ts'
import { readVersion } from './version.ts'

/** How often connections that have become idle are closed while the server closes. */
const CLOSE_IDLE_MS = 50
/** How long the answers of requests whose statements were cut have to reach their callers. */
const ANSWER_MS = 500

await main()

async function main(): Promise<void> {
  if (import.meta.main) refuseArguments(process.argv.slice(2))
  const config = readConfig()
  const { logger, flush } = createLogger(config.logLevel)
  process.on('exit', flush)
  for (const warning of config.warnings) logger.warn(warning)

  const stop = new AbortController()
  const resources = new AsyncDisposableStack()
  const started = start(config, logger, resources, stop.signal)
  let signalled: NodeJS.Signals | undefined
  let isStopping = false
  let disposing: Promise<void> | undefined
  // A second disposal would resolve at once, before the first has ended.
  const dispose = () => (disposing ??= resources.disposeAsync())
  const closing = closeWithGrace(
    {
      delay: config.shutdown.timeoutMs,
      logger: false,
      // It takes a signal that comes twice at once for two.
      skip: [...STOP_SIGNALS],
      onSecondError: (err) => logger.fatal({ err }, 'error while shutting down, exiting at once'),
      onTimeout: () => logger.error('shutdown took too long, exiting at once'),
    },
    async ({ signal = signalled, err }) => {
      isStopping = true
      if (err === undefined) logger.info({ signal }, 'shutting down')
      else logger.fatal({ err }, 'uncaught error, shutting down')
      stop.abort()
      // Its failure is reported below.
      await Promise.allSettled([started])
      await dispose()
      logger.info('stopped')
    },
  )
  listenForStop({
    process,
    clock: systemClock,
    onStop(signal) {
      // An uncaught error has begun it already: a second run would end before the first.
      if (isStopping) return
      signalled = signal
      closing.close()
    },
    onHurry(signal) {
      logger.warn({ signal }, 'another signal, exiting at once')
      process.exit(1)
    },
  })

  try {
    await started
  } catch (error) {
    if (stop.signal.aborted) return
    const explained = startError(error, config.http)
    if (explained === undefined) logger.fatal({ err: error }, 'start failed')
    else process.stderr.write(`${explained}\n`)
    await dispose()
    process.exit(1)
  }
}

/** Who writes `npm start -- --port 9000` would find the service on another port. */
function refuseArguments(args: readonly string[]): void {
  if (args.length === 0) return
  process.stderr.write(`${argumentsRefused(args)}\n`)
  process.exit(2)
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
