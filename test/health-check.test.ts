import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { generateVaultKeys } from '../src/vault/key-ring.ts'
import { compileCache } from './support/compile-cache.ts'
import { testDatabase } from './support/database.ts'
import { includes } from './support/like.ts'
import { startService } from './support/service.ts'
import { makeCertificate } from './support/tls.ts'

const CHECK = fileURLToPath(new URL('../src/health-check.ts', import.meta.url))

async function check(t: Test, env: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, [CHECK], { cwd: t.testdirName, env: { ...compileCache(), ...env } })
  const [said] = await Promise.all([text(child.stderr), once(child, 'close')])
  return { status: child.exitCode, said }
}

async function serve(
  t: Test,
  environment: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const { url } = await testDatabase(t, { template: 'control' })
  const service = startService(t, {
    directory: t.testdirName,
    environment: {
      DATABASE_URL: url,
      OPERATOR_KEY: 'operator-key-for-the-tests-0123456789',
      VAULT_KEYS: generateVaultKeys(),
      ...environment,
    },
  })
  return { ...environment, PORT: new URL(await service.listening()).port }
}

t.test('the check finds a service over HTTP, on all addresses as well', async (t) => {
  t.testdir()
  for (const environment of [{}, { HOST: '0.0.0.0' }]) {
    t.strictSame(await check(t, await serve(t, environment)), { status: 0, said: '' })
  }
})

t.test('it finds one over HTTPS, whatever name its certificate is for', async (t) => {
  const { certFile, keyFile, passphrase } = makeCertificate(t.testdir())
  const tls = { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile, TLS_KEY_PASSPHRASE: passphrase }
  const environment = await serve(t, { ...tls, HOST: '127.0.0.1' })
  t.strictSame(await check(t, environment), { status: 0, said: '' })
})

t.test('it fails where no service is, where one says no, and where one says nothing', async (t) => {
  t.testdir()
  const answers = ['HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n', undefined]
  for (const answer of answers) {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      if (answer !== undefined) socket.end(answer)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { status, said } = await check(t, { PORT: `${port}` })
    t.equal(status, 1)
    includes(t, said, answer === undefined ? 'does not answer in 2500 ms' : 'answers 503')
    server.close()
    if (answer === undefined) {
      const gone = await check(t, { PORT: `${port}` })
      t.equal(gone.status, 1)
      includes(t, gone.said, 'cannot be reached')
    }
  }
})

t.test('the image runs it', async (t) => {
  includes(t, readFileSync('deploy/Dockerfile', 'utf8'), 'CMD ["node", "dist/health-check.js"]')
})
