import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** EmbeddedDatabase is the PostgreSQL that a service started for itself. */
export interface EmbeddedDatabase {
  /** Connection URL of the superuser. */
  readonly url: string
  /** Of its first process. */
  readonly pid: number
}

/**
 * readEmbeddedDatabase finds the database of a running service in its STATE_DIR. The fourth line of
 * PostgreSQL's pid file is its port (PostgreSQL, src/include/utils/pidfile.h).
 */
export async function readEmbeddedDatabase(stateDir: string): Promise<EmbeddedDatabase> {
  const folder = join(stateDir, 'postgres')
  const password = (await readFile(join(folder, 'password'), 'utf8')).trim()
  const [pid, , , port] = (await readFile(join(folder, 'data', 'postmaster.pid'), 'utf8')).split('\n')
  return { url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, pid: Number(pid) }
}
