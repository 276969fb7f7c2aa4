import { once } from 'node:events'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { hasCode } from './errors.ts'
import type { Home } from './home.ts'

export const LOOPBACK = '127.0.0.1'

/**
 * choosePort resolves with the port of the last run when it is free, or else with a free one, and
 * keeps it for the next. Another process can still take it before PostgreSQL does.
 */
export async function choosePort(home: Home): Promise<number> {
  const file = join(home.path, 'port')
  const kept = await readPort(file)
  if (kept !== undefined && (await freePort(kept)) !== undefined) return kept
  const port = await freePort(0)
  if (port === undefined) throw new Error('bug: there is always a free port for 0')
  await writeFile(`${file}.new`, `${port}\n`)
  await rename(`${file}.new`, file)
  return port
}

async function readPort(file: string): Promise<number | undefined> {
  try {
    const port = Number(await readFile(file, 'utf8'))
    return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

async function freePort(wanted: number): Promise<number | undefined> {
  const server = createServer()
  try {
    server.listen(wanted, LOOPBACK)
    await once(server, 'listening')
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : undefined
  } catch (error) {
    if (hasCode(error, 'EADDRINUSE', 'EACCES')) return undefined
    throw error
  } finally {
    server.close()
  }
}
