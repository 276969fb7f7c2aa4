import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { makeApiKey } from '../../src/access/api-key.ts'
import { HashKeys } from '../../src/access/hash-keys.ts'
import { MacHasher } from '../../src/access/mac-hasher.ts'
import { sql } from '../../src/pool/statement.ts'
import { parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { controlDatabase, ManualClock } from './helpers.ts'

const K1 = `k1:${'1a'.repeat(32)}`
const K2 = `k2:${'2b'.repeat(32)}`
const GONE_MS = 600_000

async function setUp(t: Test) {
  const db = await controlDatabase(t)
  const clock = new ManualClock()
  /** What a process with these vault keys has. */
  function processWith(vaultKeys: string) {
    const keys = parseVaultKeys(vaultKeys)
    const hashKeys = new HashKeys({ db, vault: new Vault(keys), keys, clock })
    return { hashKeys, hasher: new MacHasher(hashKeys) }
  }
  const stored = () =>
    db.query<{ id: string; keyId: string }>(
      sql`select id, key_id as "keyId" from lessor.hash_keys order by id`,
    )
  const addNode = (readsHashKeys: boolean, silentMs = 0) =>
    db.query(sql`
      insert into lessor.nodes (id, name, pid, applied, reads_hash_keys, heartbeat_at)
      values (${randomUUID()}, 'n', 1, 0, ${readsHashKeys}, clock_timestamp() - ${silentMs} * interval '1 millisecond')`)
  return { db, clock, processWith, stored, addNode }
}

t.test('processes that start at once make one key, and read what the others hash', async (t) => {
  const { processWith, stored } = await setUp(t)
  const all = [processWith(K1), processWith(K1), processWith(K1)]
  await Promise.all(all.map(({ hashKeys }) => hashKeys.start()))
  const rows = await stored()
  t.strictSame([rows.length, rows[0]?.keyId], [1, 'k1'])
  const key = makeApiKey()
  const hash = await all[0]?.hasher.hash(key)
  for (const { hasher } of all) t.equal(await hasher.verify(hash ?? '', key), true)
})

t.test('the vault key changes, and no API key is lost with the old one', async (t) => {
  const { processWith, stored } = await setUp(t)
  const before = processWith(K1)
  await before.hashKeys.start()
  const key = makeApiKey()
  const hash = await before.hasher.hash(key)
  const [row] = await stored()
  const between = processWith(`${K2},${K1}`)
  await between.hashKeys.start()
  sameRows(t, await stored(), [{ id: row?.id, keyId: 'k2' }], 'sealed with the first key, and still the same')
  t.equal(await before.hasher.verify(hash, key), true, 'in a process that goes on')
  const after = processWith(K2)
  await after.hashKeys.start()
  t.equal(await after.hasher.verify(hash, key), true)
  t.equal(await after.hasher.hash(key), hash)
})

t.test('who lacks the vault key does not start, and changes nothing', async (t) => {
  const { processWith, stored } = await setUp(t)
  await processWith(K1).hashKeys.start()
  const before = await stored()
  await rejectsLike(t, processWith(K2).hashKeys.start(), { code: 'VAULT_OPEN_FAILED' })
  sameRows(t, await stored(), before)
})

t.test('a key that another process has made is found when it is met', async (t) => {
  const { db, processWith } = await setUp(t)
  const [one, other] = [processWith(K1), processWith(K1)]
  await one.hashKeys.start()
  await db.script('create table kept as table lessor.hash_keys; delete from lessor.hash_keys')
  await other.hashKeys.start()
  await db.script(
    "insert into lessor.hash_keys select id, key_id, envelope, created_at - interval '1 day' from kept",
  )
  const key = makeApiKey()
  t.equal(await one.hasher.verify(await other.hasher.hash(key), key), true)
  t.equal(await other.hasher.verify(await one.hasher.hash(key), key), true)
  t.equal(await one.hashKeys.find('ffffffff'), undefined)
})

t.test(
  'while a node of the version before may be there, nothing is hashed that it cannot read',
  async (t) => {
    const { addNode, clock, db, processWith } = await setUp(t)
    const { hasher, hashKeys } = processWith(K1)
    t.equal(await hashKeys.current(), undefined, 'before the start')
    await hashKeys.start()
    await addNode(true)
    await addNode(false)
    const isSlow = async () => hasher.isSlow(await hasher.hash(makeApiKey()))
    t.equal(await isSlow(), true)
    await db.query(sql`delete from lessor.nodes where not reads_hash_keys`)
    clock.advance(4_999)
    t.equal(await isSlow(), true, 'it is looked every five seconds')
    clock.advance(1)
    t.equal(await isSlow(), false)
    await addNode(false, GONE_MS - 60_000)
    clock.advance(5_000)
    t.equal(await isSlow(), true, 'one was away for a while, as in an outage')
  },
)

t.test(
  'a node that was not heard of for ten minutes does not count, one that is silent for less does',
  async (t) => {
    const { addNode, processWith } = await setUp(t)
    await addNode(false, GONE_MS + 1)
    const { hasher, hashKeys } = processWith(K1)
    await hashKeys.start()
    t.equal(hasher.isSlow(await hasher.hash(makeApiKey())), false)
  },
)

t.test('neither the table nor a hash shows the key', async (t) => {
  const { db, processWith } = await setUp(t)
  const { hashKeys } = processWith(K1)
  await hashKeys.start()
  const current = await hashKeys.current()
  const bytes = current?.key.export()
  const [row] = await db.query<{ text: string }>(sql`select hash_keys::text as text from lessor.hash_keys`)
  t.equal(bytes?.length, 32)
  t.notOk(row?.text.includes(bytes?.toString('hex') ?? ''))
})
