// Holds a PostgreSQL server for the tests: prints {"url"} and stops when its standard input ends. Its argument, if there
// is one, is settings of the server as JSON.
import { once } from 'node:events'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startEmbedded } from '../../src/embedded/start-embedded.ts'
import { scratchFolder } from './scratch.ts'

const folder = await mkdtemp(join(await scratchFolder(), 'lessor-test-'))
// Under root PostgreSQL runs as another user, who must pass through.
await chmod(folder, 0o711)
const directory = join(folder, 'postgres')
try {
  const given: Record<string, string> = JSON.parse(process.argv[2] ?? '{}')
  // One that came back by itself after a crash would hide it from the tests.
  const settings = { restart_after_crash: 'off', ...given }
  const server = await startEmbedded({ directory, durable: false, maxConnections: 300, settings })
  process.stdout.write(`${JSON.stringify({ url: server.url.reveal() })}\n`)
  process.stdin.resume()
  await Promise.race([
    once(process.stdin, 'close'),
    once(process, 'SIGTERM'),
    once(process, 'SIGINT'),
    server.exited,
  ])
  await server.stop()
} finally {
  // Where the folder is closed to PostgreSQL's user, the data lies elsewhere, behind a link.
  const data = await realpath(directory).catch(() => directory)
  for (const path of [data, folder]) await rm(path, { recursive: true, force: true })
}
process.exit()
