#!/usr/bin/env node
import { constants } from 'node:os'
import type { Command } from './cli/command.ts'
import { connectCommand } from './cli/connect-command.ts'
import { migrateCommand } from './cli/migrate-command.ts'
import { findCommand, runCommand } from './cli/run-command.ts'
import { serveCommand } from './cli/serve-command.ts'
import { tenantsCommand } from './cli/tenants-command.ts'
import { systemClock } from './clock.ts'
import { readEnvironment } from './config.ts'
import { listenForStop } from './stop-signals.ts'

/** Every command, in the order of `lessor help`; the first one is what `lessor` alone does. */
const COMMANDS: readonly Command[] = [serveCommand, tenantsCommand, connectCommand, migrateCommand]

await main()

async function main(): Promise<void> {
  const args = process.argv.slice(2)
  const stop = new AbortController()
  if (findCommand(COMMANDS, args[0])?.ownsSignals !== true) listen(stop)
  const status = await runCommand(COMMANDS, args, {
    stdout: process.stdout,
    stderr: process.stderr,
    environment: readEnvironment(),
    signal: stop.signal,
    isInteractive: process.stderr.isTTY === true,
  })
  // Not `exit`: the service goes on.
  process.exitCode ??= status
}

/** listen lets a signal end the command in order, and one that comes more than two seconds later at once. */
function listen(stop: AbortController): void {
  // The exit status of a process that a signal ended.
  const statusOf = (signal: NodeJS.Signals) => 128 + constants.signals[signal]
  listenForStop({
    process,
    clock: systemClock,
    onStop(signal) {
      process.exitCode = statusOf(signal)
      stop.abort()
    },
    onHurry: (signal) => process.exit(statusOf(signal)),
  })
  // What reads may stop reading, as `head` does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    stop.abort()
  })
}
