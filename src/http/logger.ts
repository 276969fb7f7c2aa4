import { type Logger, pino } from 'pino'
import { LineBuffer } from './line-buffer.ts'

export type { Logger } from 'pino'

/** LogSink is where log lines go; a test hands in its own. */
export interface LogSink {
  write(line: string): void
}

export interface ServiceLogger {
  readonly logger: Logger
  /** flush writes out what is buffered, before it returns. Call it before the process exits. */
  flush(): void
}

/** Lines gather until there are so many characters of them, or so long. */
const BUFFER_LENGTH = 32_768
const BUFFER_MS = 100

/** Belt and braces: nothing logs these on purpose. Not by wildcard, which costs four times what the line does. */
const REDACTED = ['authorization', 'body', 'headers', 'password', 'req', 'request', 'secret', 'token']

/** createLogger makes the logger of the process: JSON lines on standard output, buffered. */
export function createLogger(level: string, sink?: LogSink): ServiceLogger {
  const options = {
    level,
    serializers: { err: serializeError },
    redact: { paths: REDACTED, censor: '[redacted]' },
  }
  if (sink !== undefined) return { logger: pino(options, sink), flush: () => {} }
  // Few large writes, so that each can wait until it is written: nothing is lost or out of order when
  // the process exits, and whoever reads too slowly slows the service down, but does not fill its memory.
  const stdout = pino.destination({ dest: 1, sync: true })
  const lines = new LineBuffer({ target: stdout, length: BUFFER_LENGTH, ms: BUFFER_MS })
  return { logger: pino(options, lines), flush: () => lines.flush() }
}

/**
 * serializeError keeps what tells where an error comes from, and no other property: those of the
 * driver's errors hold statements, their parameters and rows.
 */
export function serializeError(error: unknown): object {
  if (!(error instanceof Error)) {
    return typeof error === 'object' && error !== null ? error : { message: String(error) }
  }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    type: error.name,
    message: error.message,
    ...(code !== undefined && { code }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(error.cause !== undefined && { cause: serializeError(error.cause) }),
  }
}
