import t from 'tap'
import { insertChange } from '../../src/control/change-store.ts'
import type { ReadChange } from '../../src/control/changes.ts'
import { VaultKeys } from '../../src/control/vault-keys.ts'
import { sql } from '../../src/pool/statement.ts'
import { generateVaultKeys, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { openControl, openFeed } from './helpers.ts'

t.test('a change that cannot be applied is told, and everything is forgotten instead', async (t) => {
  const { db } = await openControl(t)
  const seen: (bigint | 'all')[] = []
  const bug = new Error('bug: it cannot be applied')
  const { counts, failures, feed } = await openFeed(t, db, {
    handler: {
      apply({ version }: ReadChange) {
        if (version === 2n) throw bug
        seen.push(version)
        return undefined
      },
      resync: async () => {
        seen.push('all')
        return []
      },
    },
  })
  const publish = (keyId: string) =>
    db.transaction((tx) => insertChange(tx, { kind: 'key', tenantId: null, keyId }))
  for (const keyId of ['one', 'two', 'three']) await publish(keyId)
  await feed.poll()
  t.strictSame(seen, [1n, 'all'], 'the third one is among what was forgotten')
  t.strictSame(failures, [bug], 'and it is no outage of the control database')
  t.equal(counts.answers, 2)
  t.equal(feed.applied, 3n)
  await publish('four')
  await feed.poll()
  t.strictSame(seen, [1n, 'all', 4n])
})

t.test(
  'a change whose work fails later does not count as applied until everything is forgotten',
  async (t) => {
    const { db } = await openControl(t)
    const seen: (bigint | 'all')[] = []
    const bug = new Error('it could not be read')
    const works = [() => Promise.reject(bug), () => Promise.resolve()]
    const { failures, feed, reports } = await openFeed(t, db, {
      handler: {
        apply({ version }: ReadChange) {
          seen.push(version)
          return works.shift()?.()
        },
        resync: async () => {
          seen.push('all')
          return []
        },
      },
    })
    for (const keyId of ['one', 'two']) {
      await db.transaction((tx) => insertChange(tx, { kind: 'key', tenantId: null, keyId }))
    }
    await feed.poll()
    t.strictSame(failures, [bug])
    t.strictSame([seen, feed.applied, reports], [[1n, 2n], 0n, []])
    await feed.poll()
    t.strictSame([seen, feed.applied], [[1n, 2n, 'all'], 2n])
    await feed.poll()
    t.strictSame([seen, failures], [[1n, 2n, 'all'], [bug]], 'once')
  },
)

t.test('a change that cannot be applied stays to be applied while nothing can be forgotten', async (t) => {
  const { db } = await openControl(t)
  const gone = new Error('the control database is away')
  let isGone = true
  let tries = 0
  const { failures, feed } = await openFeed(t, db, {
    handler: {
      apply() {
        tries += 1
        throw new Error('bug: it cannot be applied')
      },
      resync: async () => {
        if (isGone) throw gone
        return []
      },
    },
  })
  await db.transaction((tx) => insertChange(tx, { kind: 'key', tenantId: null, keyId: 'one' }))
  await feed.poll()
  t.strictSame([tries, failures.at(-1), feed.applied], [1, gone, 0n])
  isGone = false
  await feed.poll()
  t.strictSame([tries, feed.applied], [2, 1n])
})

t.test('a process that cannot say what it seals with still sees which keys it lacks', async (t) => {
  const { db } = await openControl(t)
  const missing: (readonly string[])[] = []
  const errors: unknown[] = []
  const turns: number[] = []
  const keys = new VaultKeys({
    db,
    keys: parseVaultKeys(generateVaultKeys()),
    samples: async () => [],
    onMissing: (ids) => missing.push(ids),
    onError: (error) => errors.push(error),
    beginTurn: () => (failures) => turns.push(failures),
  })
  await keys.start()
  t.teardown(() => keys.stop())
  await db.query(sql`insert into lessor.vault_keys (id, sealing_at) values ('elsewhere', now())`)
  await db.script(`
    create function lessor.refuse() returns trigger language plpgsql as
      $$ begin raise exception 'no room' using errcode = 'disk_full'; end $$;
    create trigger refuse before update on lessor.vault_keys for each statement execute function lessor.refuse()`)
  await keys.poll()
  t.strictSame(missing, [['elsewhere']])
  t.strictSame(keys.missing, ['elsewhere'])
  await keys.poll()
  t.strictSame(turns, [1, 1])
  t.strictSame(
    errors.map((error) => error instanceof Error && 'code' in error && error.code),
    ['53100'],
    'told once',
  )
  await db.script('drop trigger refuse on lessor.vault_keys')
  await keys.poll()
  t.strictSame(turns, [1, 1, 0])
})
