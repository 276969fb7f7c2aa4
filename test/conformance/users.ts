import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { tally } from '../support/tally.ts'
import type { Part } from './report.ts'

const PART = fileURLToPath(new URL('./users-part.ts', import.meta.url))

export interface UsersOptions {
  /** Of the running service. */
  readonly baseUrl: string
  readonly operatorKey: string
  readonly placement: PlacementName
  /** The data server that the tenants are made on. */
  readonly server: string
  readonly signal: AbortSignal
}

/** runUsers runs the users suite on tenants of one placement, in a process of its own, and counts what passed. */
export async function runUsers(options: UsersOptions): Promise<Part> {
  const { baseUrl, operatorKey, placement, server, signal } = options
  signal.throwIfAborted()
  const child = spawn(process.execPath, [PART], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH ?? '',
      BASE_URL: baseUrl,
      OPERATOR_KEY: operatorKey,
      PLACEMENT: placement,
      SERVER: server,
    },
  })
  const stop = () => child.kill()
  signal.addEventListener('abort', stop, { once: true })
  try {
    const [tap] = await Promise.all([text(child.stdout), once(child, 'close')])
    signal.throwIfAborted()
    const { passed, failed, failures } = tally(tap)
    return { passed, failed, failures: failures.map(({ name }) => name) }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
