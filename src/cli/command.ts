import type { Writable } from 'node:stream'
import type { Environment } from '../config.ts'

/** CliIo is all that a command has of the process it runs in. */
export interface CliIo {
  /** What the command was asked for, and nothing else. */
  readonly stdout: Writable
  /** Progress, notes, the log, errors. */
  readonly stderr: Writable
  /** Keys and URLs come from here and never from the arguments, which every user of the machine can read. */
  readonly environment: Environment
  /** Aborts on SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal
  /** Whether somebody watches: standard error is a terminal. */
  readonly isInteractive: boolean
}

/** Command is one word after `lessor`. */
export interface Command {
  readonly name: string
  /** One line, for the list of commands. */
  readonly summary: string
  /** What `lessor help <name>` prints. */
  readonly usage: string
  /** True when the command looks after signals itself; its `io.signal` never aborts. */
  readonly ownsSignals?: boolean
  /**
   * run resolves with the exit status: 0 done, 1 not all of it.
   * @throws UsageError, and what the services throw
   */
  run(args: readonly string[], io: CliIo): Promise<number>
}

/** UsageError says what is wrong with the arguments; the exit status is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
