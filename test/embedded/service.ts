// A stand-in for the service: runs the embedded PostgreSQL of the folder in argv until it is told to
// stop, and proves before it stops that the database still answers.
import { once } from 'node:events'
import { startEmbedded } from '../../src/embedded/start-embedded.ts'
import { withAdmin } from '../support/template.ts'

const [directory = ''] = process.argv.slice(2)
const told = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
const server = await startEmbedded({ directory, durable: false })
const url = server.url.reveal()
process.stdout.write(`${JSON.stringify({ url })}\n`)
await told
await withAdmin(url, (sql) => sql`select pg_sleep(0.2)`)
process.stdout.write('answers after the signal\n')
await server.stop()
