import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { Secret } from '../secret.ts'
import { SUPERUSER } from './cluster.ts'
import { hasCode } from './errors.ts'
import { isAlive, readPidFile } from './pid-file.ts'
import { LOOPBACK } from './port.ts'
import { StateDir } from './state-dir.ts'

/**
 * findEmbedded resolves with the URL of the PostgreSQL that another process runs in this folder, or
 * undefined when none accepts connections there. Nothing is made or changed.
 */
export async function findEmbedded(directory: string): Promise<Secret | undefined> {
  let path: string
  try {
    path = await realpath(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  const running = await readPidFile({ path, data: join(path, 'data'), account: undefined })
  if (running === undefined || !running.ready || !isAlive(running.pid)) return undefined
  const password = await StateDir.existing(path).readSecret('password')
  if (password === undefined) return undefined
  return new Secret(`postgres://${SUPERUSER}:${password.reveal()}@${LOOPBACK}:${running.port}/postgres`)
}
