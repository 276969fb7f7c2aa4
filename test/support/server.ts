import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { withAdmin } from './template.ts'

const HOLDER = fileURLToPath(new URL('./server-process.ts', import.meta.url))

/** TestServer is a running PostgreSQL server that belongs to the tests alone. */
export interface TestServer {
  /** Connection URL of the superuser. */
  readonly url: string
  /** Resolves when the server is gone, stopped or crashed. */
  readonly ended: Promise<void>
  /** stop resolves when the server is gone and its files are removed. */
  stop(): Promise<void>
}

/**
 * startTestServer starts an embedded PostgreSQL in a temporary folder. A process of its own holds
 * it and stops it when its standard input ends, so that it goes away whatever happens to the
 * caller: the kernel closes the pipe even after SIGKILL. It does not keep the caller alive. `settings` are
 * set at the server, over those of the tests.
 */
export async function startTestServer(settings: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  const holder = spawn(process.execPath, [HOLDER, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const exited = once(holder, 'exit')
  const line = once(createInterface(holder.stdout), 'line')
  const started = await Promise.race([line, exited.then(() => undefined)])
  if (started === undefined) throw new Error('the PostgreSQL server for the tests did not start')
  const { url }: { url: string } = JSON.parse(String(started[0]))
  holder.unref()
  // Pipes of a child process are sockets in Node (child_process, "options.stdio").
  const [input, output] = [holder.stdin, holder.stdout] as unknown as [Socket, Socket]
  input.unref()
  output.unref()
  return {
    url,
    ended: exited.then(() => {}),
    async stop() {
      holder.ref()
      holder.stdin.end()
      await exited
    },
  }
}

/** answers says whether a server can be used. */
export function answers(url: string): Promise<boolean> {
  return withAdmin(url, (admin) => admin`select 1`).then(
    () => true,
    () => false,
  )
}
