import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { compileCache } from '../support/compile-cache.ts'
import { testDatabase } from '../support/database.ts'
import { excludes } from '../support/like.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

/** The process that `lessor` is, in an empty folder and with no environment but this. */
function start(t: Test, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: t.testdir(),
    env: { ...compileCache(), ...env },
    stdio: 'pipe',
  })
  t.teardown(() => child.kill('SIGKILL'))
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
  }
  const ended = once(child, 'close').then(([code, signal]) => ({ status: code ?? signal, text }))
  return {
    child,
    ended,
    async said(words: string): Promise<void> {
      const isOver = ended.then(() => true)
      while (!text.includes(words)) {
        if ((await Promise.race([isOver, once(child.stdout, 'data')])) === true) {
          throw new Error(`it ended and said:\n${text}`)
        }
      }
    },
  }
}

async function environment(t: Test): Promise<Record<string, string>> {
  const { url } = await testDatabase(t)
  return {
    DATABASE_URL: url,
    OPERATOR_KEY: 'operator-key-of-this-test-0123456789',
    VAULT_KEYS: generateVaultKeys(),
    PORT: '0',
  }
}

t.test('every command is listed, and mistakes end with 2 in one line', async (t) => {
  const help = await start(t, ['help']).ended
  t.equal(help.status, 0)
  for (const command of ['serve', 'tenants', 'connect', 'migrate'])
    t.match(help.text, new RegExp(`^  ${command} `, 'm'))
  t.strictSame(await start(t, ['serv']).ended, {
    status: 2,
    text: 'lessor: There is no command "serv". Did you mean "serve"?\n',
  })
  const missing = await start(t, ['tenants', 'create', 'acme'], { NODE_ENV: 'production' }).ended
  t.equal(missing.status, 1)
  t.match(missing.text, /^lessor tenants: The configuration is not valid:\n {2}DATABASE_URL must be set/)
  excludes(t, missing.text, / {4}at /, 'no stack')
})

t.test('without a command it serves until SIGTERM, and so does serve', async (t) => {
  const env = await environment(t)
  for (const args of [[], ['serve']]) {
    const { child, ended, said } = start(t, args, env)
    await said('Server listening')
    child.kill('SIGTERM')
    const { status, text } = await ended
    t.equal(status, 0)
    t.match(text, /"msg":"stopped"/)
  }
})

/** A database that takes connections and never says a word; resolves with the first of them. */
async function silentDatabase(t: Test) {
  const server = createServer()
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const env = {
    DATABASE_URL: `postgres://a:hidden@127.0.0.1:${port}/c`,
    OPERATOR_KEY: 'operator-key-of-this-test-0123456789',
    VAULT_KEYS: generateVaultKeys(),
  }
  return { env, connected: once(server, 'connection') }
}

t.test('SIGINT lets a command end in order', async (t) => {
  const { env, connected } = await silentDatabase(t)
  const { child, ended } = start(t, ['tenants', 'create', 'acme'], { ...env, POOL_CONNECT_TIMEOUT_MS: '500' })
  await connected
  child.kill('SIGINT')
  t.strictSame(await ended, { status: 130, text: 'lessor tenants: interrupted\n' })
})

t.test('a signal ends it at once when it comes more than two seconds after the first', async (t) => {
  const { env, connected } = await silentDatabase(t)
  const { child, ended } = start(t, ['tenants', 'create', 'acme'], {
    ...env,
    POOL_CONNECT_TIMEOUT_MS: '600000',
  })
  await connected
  child.kill('SIGINT')
  // npm hands on what the terminal has sent to all already.
  child.kill('SIGINT')
  await sleep(2_500)
  t.equal(child.exitCode, null)
  child.kill('SIGTERM')
  t.strictSame(await ended, { status: 143, text: '' })
})
