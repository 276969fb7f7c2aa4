import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { saveHashKey } from '../../src/access/hash-key-store.ts'
import { hashKeyContext } from '../../src/access/hash-keys.ts'
import { ControlDatabase, type ControlDb } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { Listener } from '../../src/control/listener.ts'
import { migrate, readMigrations } from '../../src/control/migrate.ts'
import { readVaultKeys, VAULT_KEY_CHANNEL } from '../../src/control/vault-key-store.ts'
import type { VaultKeys } from '../../src/control/vault-keys.ts'
import { LessorError } from '../../src/errors.ts'
import { createLogger } from '../../src/http/logger.ts'
import { ident, sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { sealCredential } from '../../src/servers/server-credentials.ts'
import { saveCredential as saveServerCredential } from '../../src/servers/server-store.ts'
import { saveCredential } from '../../src/tenants/credential-store.ts'
import { Idempotency, idempotentRequest } from '../../src/tenants/idempotency.ts'
import { credentialContext } from '../../src/tenants/login.ts'
import { parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'
import { createVaultKeys } from '../../src/vault-services.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { until } from './helpers.ts'

/** Version of the control database before it knew of vault keys. */
const BEFORE = 8

const HEX = { one: '1a'.repeat(32), two: '2b'.repeat(32), other: '3c'.repeat(32) }
const K1 = `k1:${HEX.one}`
const K2 = `k2:${HEX.two}`
const OTHER_K1 = `k1:${HEX.other}`

const LACKS_K1 =
  'VAULT_KEYS lacks the key "k1", which is in use in this control database: put it behind the first key, which seals, and start again.'
const FOREIGN_K1 =
  'The key "k1" of VAULT_KEYS is not the one that this control database knows by this id: ' +
  'put back the right hex digits, or give a new key an id that was never used.'

/** For all tests that need none of an older version; each finds it without tenants and keys. */
const shared = await testDatabase(t, { template: 'control' })

async function setUp(t: Test, { version }: { readonly version?: number } = {}) {
  const { url } = version === undefined ? shared : await testDatabase(t)
  const db = new ControlDatabase({ url, maxConnections: 4 })
  t.teardown(() => db.close())
  const migrations = await readMigrations()
  if (version === undefined) {
    await db.query(sql`
      truncate lessor.vault_keys, lessor.hash_keys, lessor.server_credentials, lessor.idempotency_keys, lessor.tenants, lessor.servers cascade`)
  } else await migrate(db, migrations.slice(0, version))
  await db.query(sql`
    insert into lessor.servers (name, host, port, database, tls) values ('main', 'localhost', 5432, 'app', 'disable')`)

  /** The services of a process with these keys, and what it has logged. */
  function processWith(keys: string, on: ControlDb = db) {
    const lines: string[] = []
    const { logger } = createLogger('info', { write: (line) => lines.push(line) })
    const vaultKeys = createVaultKeys({ control: on, keys: parseVaultKeys(keys), logger })
    t.teardown(() => vaultKeys.stop())
    const logged = () =>
      lines.map((line) => JSON.parse(line)).map(({ level, msg, keyIds }) => ({ level, msg, keyIds }))
    return { vaultKeys, logged, logText: () => lines.join('') }
  }

  /** Rows of the table, without their times. */
  async function known() {
    const rows = await db.query<{ id: string; proven: boolean; sealing: boolean }>(sql`
      select id, proof is not null as proven, sealing_at is not null as sealing from lessor.vault_keys order by id`)
    return [...rows]
  }

  /** Lets every process's last word about its sealing key be older than it counts. */
  async function passAMinute() {
    await db.query(sql`update lessor.vault_keys set sealing_at = sealing_at - interval '61 seconds'`)
  }

  return { url, db, migrations, processWith, known, passAMinute }
}

type Control = Awaited<ReturnType<typeof setUp>>['db']

async function addTenant(db: Control): Promise<string> {
  const id = randomUUID()
  await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status)
    select ${id}, id, ${id}, ${id}, 'role', 'main', 'active' from lessor.namespaces where name = 'default'`)
  return id
}

/** Ways in which a value comes to lie sealed; each resolves with the table. */
const SEALS = {
  async 'a credential'(db: Control, vault: Vault) {
    const tenantId = await addTenant(db)
    const envelope = await vault.seal('password', credentialContext(tenantId))
    await saveCredential(db, { tenantId, colour: 'blue', envelope, keyId: vault.keyId(envelope) })
    return 'credentials'
  },
  async 'a login of the service'(db: Control, vault: Vault) {
    const sealed = await sealCredential(vault, 'main', 'row', 'lessor_row', new Secret('password'))
    await saveServerCredential(db, 'main', sealed)
    return 'server_credentials'
  },
  async 'an answer about a tenant'(db: Control, vault: Vault) {
    const tenantId = await addTenant(db)
    const request = idempotentRequest('default', 'key', {})
    await db.transaction(async (tx) => {
      const idempotency = new Idempotency(vault)
      await idempotency.claim(tx, request, tenantId)
      await idempotency.answer(tx, request, tenantId, 'answer')
    })
    return 'idempotency_keys'
  },
  async 'an answer about a batch'(db: Control, vault: Vault) {
    const request = idempotentRequest('default', 'batch', {})
    await db.transaction(async (tx) => {
      const idempotency = new Idempotency(vault)
      await idempotency.claimBatch(tx, request)
      await idempotency.answerBatch(tx, request, 'answer')
    })
    return 'idempotency_keys'
  },
}

/** What came after the table of vault keys. */
const ALL_SEALS = {
  ...SEALS,
  async 'a key that API keys are hashed with'(db: Control, vault: Vault) {
    const id = '0123abcd'
    const envelope = await vault.seal('key', hashKeyContext(id))
    await saveHashKey(db, { id, keyId: vault.keyId(envelope), envelope })
    return 'hash_keys'
  },
}

function vaultOf(keys: string): Vault {
  return new Vault(parseVaultKeys(keys))
}

/** Resolves with what a start says when it is refused; it names no key. */
async function refused(t: Test, vaultKeys: VaultKeys): Promise<string> {
  const error = await vaultKeys.start().then(
    () => undefined,
    (error: Error) => error,
  )
  t.equal(error?.name, 'VaultKeysError')
  for (const hex of Object.values(HEX)) t.notOk(String(error?.stack).includes(hex))
  return error?.message ?? ''
}

t.test('the keys of the first process are entered, each with a proof that holds no key', async (t) => {
  const { db, known, processWith } = await setUp(t)
  await processWith(`${K1},${K2}`).vaultKeys.start()
  t.strictSame(await known(), [
    { id: 'k1', proven: true, sealing: true },
    { id: 'k2', proven: true, sealing: false },
  ])
  const proofs = await db.query<{ proof: Buffer }>(sql`select proof from lessor.vault_keys`)
  t.equal(proofs.length, 2)
  for (const { proof } of proofs) {
    const hex = Buffer.from(proof).toString('hex')
    t.notOk(hex.includes('1a1a1a') || hex.includes('2b2b2b'))
  }
  await processWith(`${K1},${K2}`).vaultKeys.start()
  await processWith(K1).vaultKeys.start()
})

for (const [what, seal] of Object.entries(ALL_SEALS)) {
  t.test(`a process that lacks the key of ${what} does not start, and enters nothing`, async (t) => {
    const { db, known, passAMinute, processWith } = await setUp(t)
    await processWith(K1).vaultKeys.start()
    await seal(db, vaultOf(K1))
    await passAMinute()
    t.equal(await refused(t, processWith(K2).vaultKeys), LACKS_K1)
    await rejectsLike(t, processWith(K2).vaultKeys.check(), { name: 'VaultKeysError', message: LACKS_K1 })
    t.strictSame(await known(), [{ id: 'k1', proven: true, sealing: true }])
    await processWith(`${K2},${K1}`).vaultKeys.start()
  })
}

for (const [what, seal] of Object.entries(SEALS)) {
  t.test(`a database of the version before is entered from ${what}`, async (t) => {
    const { db, known, migrations, processWith } = await setUp(t, { version: BEFORE })
    const table = await seal(db, vaultOf(K1))
    await migrate(db, migrations)
    t.strictSame(await known(), [{ id: 'k1', proven: false, sealing: false }], 'by the migration')
    t.equal(await refused(t, processWith(K2).vaultKeys), LACKS_K1)
    t.equal(await refused(t, processWith(OTHER_K1).vaultKeys), FOREIGN_K1)
    t.strictSame(await known(), [{ id: 'k1', proven: false, sealing: false }])
    await processWith(K1).vaultKeys.start()
    t.strictSame(await known(), [{ id: 'k1', proven: true, sealing: true }])
    await db.query(sql`delete from lessor.${ident(table)}`)
    t.equal(await refused(t, processWith(OTHER_K1).vaultKeys), FOREIGN_K1, 'the proof stays')
  })
}

t.test('one damaged value of the version before is no reason not to start', async (t) => {
  const { db, known, migrations, processWith } = await setUp(t, { version: BEFORE })
  const vault = vaultOf(K1)
  await SEALS['a credential'](db, vault)
  await SEALS['a credential'](db, vault)
  await db.query(sql`
    update lessor.credentials set envelope = set_byte(envelope, 20, get_byte(envelope, 20) # 1)
    where tenant_id = (select min(tenant_id::text)::uuid from lessor.credentials)`)
  await migrate(db, migrations)
  await processWith(K1).vaultKeys.start()
  t.strictSame(await known(), [{ id: 'k1', proven: true, sealing: true }])
})

t.test('a process of the version before that goes on sealing is known by what it seals', async (t) => {
  const { db, known, processWith } = await setUp(t)
  await processWith(K2).vaultKeys.start()
  await SEALS['a credential'](db, vaultOf(K1))
  t.strictSame(await known(), [
    { id: 'k1', proven: false, sealing: false },
    { id: 'k2', proven: true, sealing: true },
  ])
  t.equal(await refused(t, processWith(K2).vaultKeys), LACKS_K1)
  t.equal(await refused(t, processWith(`${K2},${OTHER_K1}`).vaultKeys), FOREIGN_K1)
  await processWith(`${K2},${K1}`).vaultKeys.start()
})

t.test('other bytes under a known id are found out, also behind the first key', async (t) => {
  const { processWith } = await setUp(t)
  await processWith(`${K2},${K1}`).vaultKeys.start()
  t.equal(await refused(t, processWith(`${K2},${OTHER_K1}`).vaultKeys), FOREIGN_K1)
  t.equal(await refused(t, processWith(OTHER_K1).vaultKeys), `${LACKS_K1.replace('k1', 'k2')} ${FOREIGN_K1}`)
})

t.test('several keys are named together', async (t) => {
  const { db, processWith } = await setUp(t)
  await processWith(`${K1},${K2}`).vaultKeys.start()
  await SEALS['a credential'](db, vaultOf(K2))
  t.equal(
    await refused(t, processWith(`k3:${HEX.other}`).vaultKeys),
    'VAULT_KEYS lacks the keys "k1", "k2", which are in use in this control database: put them behind the first key, which seals, and start again.',
  )
  t.equal(
    await refused(t, processWith(`k1:${HEX.other},k2:${'4d'.repeat(32)}`).vaultKeys),
    'The keys "k1", "k2" of VAULT_KEYS are not those that this control database knows by these ids: ' +
      'put back the right hex digits, or give a new key an id that was never used.',
  )
})

t.test('of two processes with different keys that start at once on a new database, one starts', async (t) => {
  const { db, known, processWith } = await setUp(t)
  const entered = Promise.withResolvers<void>()
  const committing = Promise.withResolvers<void>()
  const slow: ControlDb = {
    announce: (channel, payload) => db.announce(channel, payload),
    query: (statement) => db.query(statement),
    script: (text) => db.script(text),
    transaction: (fn) =>
      db.transaction(async (tx) => {
        const result = await fn(tx)
        entered.resolve()
        await committing.promise
        return result
      }),
  }
  const first = processWith(K1, slow).vaultKeys.start()
  await entered.promise
  let isOver = false
  const second = refused(t, processWith(K2).vaultKeys).finally(() => {
    isOver = true
  })
  await until(async () => {
    const waiting = await db.query(sql`
      select from pg_locks where relation = 'lessor.vault_keys'::regclass and not granted`)
    return isOver || waiting.length > 0
  }, 'the second one waits')
  committing.resolve()
  await first
  t.equal(await second, LACKS_K1)
  t.strictSame(await known(), [{ id: 'k1', proven: true, sealing: true }])
})

t.test('processes with the same keys that start at once all start', async (t) => {
  const { known, processWith } = await setUp(t)
  await Promise.all([K1, K1, `${K1},${K2}`].map((keys) => processWith(keys).vaultKeys.start()))
  t.strictSame(await known(), [
    { id: 'k1', proven: true, sealing: true },
    { id: 'k2', proven: true, sealing: false },
  ])
})

t.test(
  'a key is added behind the first, moved to the front, and dropped when it seals nothing',
  async (t) => {
    const { db, known, passAMinute, processWith } = await setUp(t)
    const [a, b] = [processWith(K1), processWith(K1)]
    await a.vaultKeys.start()
    await b.vaultKeys.start()
    await SEALS['a login of the service'](db, vaultOf(K1))
    const a2 = processWith(`${K1},${K2}`)
    await a2.vaultKeys.start()
    await b.vaultKeys.poll()
    t.strictSame(b.vaultKeys.missing, [], 'a key that only opens is not needed elsewhere')

    const a3 = processWith(`${K2},${K1}`)
    await a3.vaultKeys.start()
    await Promise.all([a2.vaultKeys.poll(), b.vaultKeys.poll()])
    await b.vaultKeys.poll()
    t.strictSame([a2.vaultKeys.missing, a3.vaultKeys.missing, b.vaultKeys.missing], [[], [], ['k2']])
    t.strictSame(
      b.logged(),
      [
        {
          level: 50,
          msg: 'VAULT_KEYS of this process lacks keys that are in use, what they seal cannot be opened here: add them and restart',
          keyIds: ['k2'],
        },
      ],
      'said once, before anything is sealed with it',
    )
    t.notOk(b.logText().includes(HEX.one))

    await passAMinute()
    await b.vaultKeys.poll()
    t.strictSame(b.vaultKeys.missing, [], 'it was taken back')
    t.equal(b.logged().at(-1)?.msg, 'VAULT_KEYS has all keys in use again')

    await a3.vaultKeys.poll()
    await passAMinute()
    await SEALS['a login of the service'](db, vaultOf(K2))
    await processWith(K2).vaultKeys.start()
    t.strictSame(
      (await known()).map(({ id }) => id),
      ['k1', 'k2'],
      'the id of a dropped key stays known',
    )
    t.equal(await refused(t, processWith(`${K2},${OTHER_K1}`).vaultKeys), FOREIGN_K1)
  },
)

t.test('a key is announced when it begins to seal, and not again', async (t) => {
  const { url, processWith } = await setUp(t)
  const heard: string[] = []
  const listening = Promise.withResolvers<void>()
  const listener = new Listener({
    address: parseDatabaseUrl(url),
    connectTimeoutMs: 10_000,
    channels: { [VAULT_KEY_CHANNEL]: (id) => heard.push(id) },
    onListening: () => listening.resolve(),
    onLost: listening.reject,
  })
  listener.start()
  t.teardown(() => listener.stop())
  await listening.promise
  await processWith(K1).vaultKeys.start()
  await processWith(`${K1},${K2}`).vaultKeys.start()
  await processWith(`${K2},${K1}`).vaultKeys.start()
  await until(() => heard.length >= 2, 'both are heard of')
  t.strictSame(heard, ['k1', 'k2'])
})

t.test('to check changes nothing', async (t) => {
  const { known, processWith } = await setUp(t)
  const { vaultKeys } = processWith(K1)
  await vaultKeys.check()
  await vaultKeys.poll()
  t.strictSame(await known(), [])
})

t.test('while the control database is away the last word counts, and it is said once', async (t) => {
  const { db, url, processWith } = await setUp(t)
  const own = new ControlDatabase({ url, maxConnections: 1 })
  t.teardown(() => own.close())
  const b = processWith(K1, own)
  await b.vaultKeys.start()
  await processWith(`${K2},${K1}`).vaultKeys.start()
  await b.vaultKeys.poll()
  const { query } = own
  own.query = () => Promise.reject(new LessorError('CONTROL_UNAVAILABLE'))
  await b.vaultKeys.poll()
  await b.vaultKeys.poll()
  t.strictSame(b.vaultKeys.missing, ['k2'])
  t.strictSame(
    b.logged().map(({ level }) => level),
    [50, 40],
  )
  own.query = query
  await db.query(sql`update lessor.vault_keys set sealing_at = null where id = 'k2'`)
  await b.vaultKeys.poll()
  t.strictSame(b.vaultKeys.missing, [])
})

t.test('every table of sealed values is followed', async (t) => {
  const { db } = await setUp(t)
  const rows = await db.query<{ name: string; followed: boolean }>(sql`
    select c.relname as name, exists (
      select from pg_trigger g where g.tgrelid = c.oid and g.tgname = 'note_vault_key' and g.tgenabled = 'O'
    ) as followed
    from pg_class c
    where c.relnamespace = 'lessor'::regnamespace and c.relkind = 'r'
      and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'key_id')
      and exists (select from pg_attribute a where a.attrelid = c.oid and a.atttypid = 'bytea'::regtype)
    order by 1`)
  t.strictSame(
    [...rows],
    [
      { name: 'credentials', followed: true },
      { name: 'hash_keys', followed: true },
      { name: 'idempotency_keys', followed: true },
      { name: 'server_credentials', followed: true },
    ],
  )
})

t.test('whether a key is in use is found by an index, however much lies sealed', async (t) => {
  const { db, processWith } = await setUp(t)
  const { vaultKeys } = processWith(`${K1},${K2}`)
  await vaultKeys.start()
  await db.query(sql`
    with tenants as (
      insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status)
      select gen_random_uuid(), n.id, i::text, i::text, 'role', 'main', 'active'
      from lessor.namespaces n, generate_series(1, 5000) i
      returning id
    )
    select count(*) from tenants`)
  await db.query(sql`
    insert into lessor.credentials (tenant_id, colour, envelope, key_id, generation)
    select id, 'blue', '', 'k1', 1 from lessor.tenants`)
  await db.query(sql`analyze lessor.credentials, lessor.vault_keys`)
  const read = await db.transaction(async (tx) => {
    const keys = await readVaultKeys(tx, 0)
    const [row] = await tx.query<{ read: string }>(sql`
      select seq_tup_read + coalesce(idx_tup_fetch, 0) as read
      from pg_stat_xact_user_tables where relid = 'lessor.credentials'::regclass`)
    return { keys: keys.map(({ id, isInUse }) => [id, isInUse]), read: Number(row?.read) }
  })
  t.strictSame(read.keys, [
    ['k1', true],
    ['k2', false],
  ])
  t.ok(read.read < 10, `${read.read} rows were read`)
})
