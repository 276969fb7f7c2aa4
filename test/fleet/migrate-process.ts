// A process that runs `lessor migrate` on another version of the application; see migrate-process.test.ts.
import { PassThrough } from 'node:stream'
import { migrateFleet } from '../../src/cli/migrate-command.ts'
import { parseMigrateArgs } from '../../src/cli/migrate-options.ts'
import { openFleetHouse } from './house.ts'

/** MigratePlan is what the process does, handed over as JSON in its first argument. */
export interface MigratePlan {
  readonly url: string
  readonly appFiles: string
  readonly keys: Readonly<Record<string, string>>
  readonly args: readonly string[]
  /** What the process sends itself when so many tenants are through. */
  readonly ends?: { readonly signal: 'SIGKILL' | 'SIGTERM'; readonly after: number }
}

const { appFiles, args, ends, keys, url } = JSON.parse(process.argv[2] ?? '') as MigratePlan
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())
const { lessor } = await openFleetHouse({ teardown: () => {} }, { url, keys, appFiles })
let through = 0
const stdout = new PassThrough()
stdout.pipe(process.stdout)
stdout.on('data', (line) => {
  if (String(line).includes('"event":"tenant"') && ++through === ends?.after)
    process.kill(process.pid, ends.signal)
})
try {
  process.exitCode = await migrateFleet(lessor.fleet, parseMigrateArgs(args), {
    stdout,
    stderr: process.stderr,
    environment: {},
    signal: stop.signal,
    isInteractive: false,
  })
} catch (error) {
  process.stderr.write(String(error))
  process.exitCode = 1
} finally {
  await lessor.close()
}
