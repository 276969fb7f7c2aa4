import t from 'tap'
import { insertChange } from '../../src/control/change-store.ts'
import type { ReadChange } from '../../src/control/changes.ts'
import { VaultKeys } from '../../src/control/vault-keys.ts'
import { sql } from '../../src/pool/statement.ts'
import { generateVaultKeys, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { openControl, openFeed } from './helpers.ts'

t.test('a change that cannot be applied is told, and keeps none after it from being applied', async (t) => {
  const { db } = await openControl(t)
  const seen: bigint[] = []
  const bug = new Error('bug: it cannot be applied')
  const { counts, failures, feed } = await openFeed(t, db, {
    handler: {
      apply({ version }: ReadChange) {
        seen.push(version)
        if (version === 1n) throw bug
        return undefined
      },
      resync: async () => [],
    },
  })
  for (const keyId of ['one', 'two']) {
    await db.transaction((tx) => insertChange(tx, { kind: 'key', tenantId: null, keyId }))
  }
  await feed.poll()
  t.strictSame(seen, [1n, 2n])
  t.strictSame(failures, [bug], 'and it is no outage of the control database')
  t.equal(counts.answers, 2)
  t.equal(feed.applied, 2n)
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
    onTurn: (failures) => turns.push(failures),
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
