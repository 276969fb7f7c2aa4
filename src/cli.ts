#!/usr/bin/env node
import type { Command } from './cli/command.ts'
import { connectCommand } from './cli/connect-command.ts'
import { migrateCommand } from './cli/migrate-command.ts'
import { findCommand, runCommand } from './cli/run-command.ts'
import { serveCommand } from './cli/serve-command.ts'
import { tenantsCommand } from './cli/tenants-command.ts'
import { readEnvironment } from './config.ts'

/** Every command, in the order of `lessor help`; the first one is what `lessor` alone does. */
const COMMANDS: readonly Command[] = [serveCommand, tenantsCommand, connectCommand, migrateCommand]

/** Exit statuses of a process that a signal ended (128 + its number). */
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

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

/** listen lets the first signal end the command in order, and the second one at once. */
function listen(stop: AbortController): void {
  for (const [signal, status] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(status)
      process.exitCode = status
      stop.abort()
    })
  }
  // Whoever reads may stop reading, as `head` does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    stop.abort()
  })
}
