import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { withLessor } from '../../src/cli/with-lessor.ts'
import { loadConfig } from '../../src/config.ts'
import { findEmbedded } from '../../src/embedded/find-embedded.ts'
import { startEmbedded } from '../../src/embedded/start-embedded.ts'
import { readLocalState } from '../../src/local-state.ts'
import { sql } from '../../src/pool/statement.ts'
import { DEFAULT_SERVER } from '../../src/servers/data-server.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, rejectsLike } from '../support/like.ts'
import { testIo } from './io.ts'

const KEYS = { OPERATOR_KEY: 'operator-key-of-this-test-0123456789', VAULT_KEYS: generateVaultKeys() }

t.test('a command has the services, without a node, a job or a share of the connections', async (t) => {
  const { url } = await testDatabase(t)
  const io = testIo({ environment: { DATABASE_URL: url, ...KEYS } })
  const found = await withLessor(io, async ({ control, namespaces, shares, config }) => {
    t.equal(shares.limit(DEFAULT_SERVER), 0)
    t.equal(config.control.maxConnections, 4)
    const page = await namespaces.list({ limit: 10 })
    const [row] = await control.query<{ nodes: number; sessions: number }>(sql`
      select (select count(*)::integer from lessor.nodes) as nodes,
        (select count(*)::integer from lessor.server_shares) as shares`)
    return { names: page.records.map(({ name }) => name), ...row }
  })
  t.strictSame(found, { names: ['default'], nodes: 0, shares: 0 })
  t.equal(io.out() + io.err(), '', 'it says nothing of itself')
})

t.test('what the command throws comes through, and all connections are closed', async (t) => {
  const { url } = await testDatabase(t)
  const io = testIo({ environment: { DATABASE_URL: url, ...KEYS, LOG_LEVEL: 'info' } })
  await rejectsLike(
    t,
    withLessor(io, async () => {
      throw new Error('of the command')
    }),
    { message: 'of the command' },
  )
  t.match(io.err(), /"migrated"/, 'LOG_LEVEL counts when it is given')
  excludes(t, io.err(), new RegExp(new URL(url).password))
})

t.test(
  'a command with other vault keys than the service does not begin, however little it would open',
  async (t) => {
    const { url } = await testDatabase(t)
    const environment = { DATABASE_URL: url, ...KEYS }
    await withLessor(testIo({ environment }), async () => {})
    const [id] = KEYS.VAULT_KEYS.split(':')
    const other = generateVaultKeys()
    const message = `VAULT_KEYS lacks the key "${id}", which is in use in this control database: put it behind the first key, which seals, and start again.`
    for (const opening of ['all', 'control', 'look'] as const) {
      const io = testIo({ environment: { ...environment, VAULT_KEYS: other } })
      await rejectsLike(
        t,
        withLessor(io, async () => t.fail('it ran'), opening),
        { name: 'VaultKeysError', message },
      )
      t.notOk(io.err().includes(other.split(':')[1] ?? ''))
    }
  },
)

t.test('an interrupted command does not begin', async (t) => {
  const { url } = await testDatabase(t)
  const io = testIo({ environment: { DATABASE_URL: url, ...KEYS }, signal: AbortSignal.abort() })
  await rejectsLike(
    t,
    withLessor(io, async () => t.fail('it ran')),
    { name: 'AbortError' },
  )
})

t.test('what is missing or wrong is named', async (t) => {
  const directory = t.testdir()
  const nothing = testIo({ environment: { STATE_DIR: join(directory, 'none') } })
  await rejectsLike(
    t,
    withLessor(nothing, async () => {}),
    {
      name: 'EmbeddedError',
      message: /No embedded PostgreSQL runs under .*none\. Start the service \(npm start, or lessor serve\)/,
    },
  )
  const keyless = testIo({
    environment: { STATE_DIR: directory, DATABASE_URL: 'postgres://a:b@127.0.0.1:1/c' },
  })
  await rejectsLike(
    t,
    withLessor(keyless, async () => {}),
    { message: /OPERATOR_KEY must be set\n +VAULT_KEYS must/ },
  )
  const wrong = testIo({ environment: { NODE_ENV: 'production' } })
  await rejectsLike(
    t,
    withLessor(wrong, async () => {}),
    { message: /DATABASE_URL must be set in production/ },
  )
  const away = testIo({ environment: { DATABASE_URL: 'postgres://a:hidden@127.0.0.1:1/c', ...KEYS } })
  await rejectsLike(
    t,
    withLessor(away, async () => {}),
    { code: 'CONTROL_UNAVAILABLE' },
  )
})

t.test(
  'without DATABASE_URL it uses the embedded database that runs under STATE_DIR, with its keys',
  async (t) => {
    const directory = t.testdir({
      'operator-key': `${KEYS.OPERATOR_KEY}\n`,
      'vault-keys': `${KEYS.VAULT_KEYS}\n`,
    })
    const folder = join(directory, 'postgres')
    t.equal(await findEmbedded(folder), undefined, 'nothing is there yet')
    const embedded = await startEmbedded({ directory: folder, durable: false })
    t.teardown(() => embedded.stop())
    const config = await readLocalState(loadConfig({ STATE_DIR: directory }))
    t.equal(config.control.url?.reveal(), embedded.url.reveal())
    t.equal(config.vaultKeys?.reveal(), KEYS.VAULT_KEYS)
    await withLessor(testIo({ environment: { STATE_DIR: directory } }), ({ control }) => control.ping())

    await embedded.stop()
    t.equal(await findEmbedded(folder), undefined, 'it has ended')
    const pidFile = join(embeddedData(folder), 'postmaster.pid')
    const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
    await once(dead, 'exit')
    writeFileSync(pidFile, `${dead.pid}\n/data\n0\n${embedded.port}\n\n127.0.0.1\n\nready\n`)
    t.equal(await findEmbedded(folder), undefined, 'a pid file that was left behind means nothing')
  },
)

function embeddedData(folder: string): string {
  return join(folder, 'data')
}
