import t from 'tap'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { NOTHING, openHouse, traces } from './house.ts'
import { addUsers, layout } from './promoted.ts'
import { entering, hurry, leftBehind, NO_ROOM, type Refusal, refuse, textOf } from './refusals.ts'

t.setTimeout(120_000)
const { url } = await testDatabase(t, { template: 'control' })
// The same for all, since the login that tenants of `row` share is sealed once.
const vaultKeys = generateVaultKeys()

t.test('a deletion that the control database refuses to begin changes nothing', async (t) => {
  const house = await openHouse(t, { url, vaultKeys })
  const { db, tenants } = house
  const { id } = (await tenants.onboard({ name: 'Kept', placement: 'row' })).tenant
  const before = await tenants.get(id)
  for (const table of ['jobs', 'changes']) {
    const lift = await refuse(db, { table, verb: 'insert' })
    await rejectsLike(t, tenants.delete(id), { code: NO_ROOM }, table)
    await lift()
    t.strictSame(await tenants.get(id), before, table)
  }
})

t.test('a deletion that the control database refuses to go on with is tried again, and ends', async (t) => {
  const house = await openHouse(t, { url, vaultKeys })
  const { db, failures, tenants } = house
  const cases: [refusal: Refusal, placement: PlacementName][] = [
    ...['drain', 'logins', 'rows', 'bury'].map((step): [Refusal, PlacementName] => [entering(step), 'row']),
    [{ table: 'jobs', verb: 'delete' }, 'row'],
    [{ table: 'api_keys', verb: 'delete' }, 'row'],
    [{ table: 'tenants', verb: 'update', when: `new.status = 'deleted'` }, 'row'],
    [{ table: 'changes', verb: 'insert', when: `new.kind = 'key'` }, 'row'],
    [{ table: 'credentials', verb: 'delete' }, 'role'],
    [{ table: 'visits', verb: 'delete' }, 'role'],
  ]
  for (const [refusal, placement] of cases) {
    const name = textOf(refusal)
    const { id } = (await tenants.onboard({ name, placement })).tenant
    if (refusal.table === 'visits') {
      await tenants.visits.open({ tenantId: id, visitor: 'ada', minutes: 5, writes: false })
    }
    const lift = await refuse(db, refusal)
    t.equal((await tenants.delete(id)).status, 'deleting', name)
    await leftBehind(house, id)
    t.equal((await tenants.get(id)).status, 'deleting', name)
    like(t, failures.splice(0), [[{ kind: 'delete', tenantId: id }, { code: NO_ROOM }]], name)
    await lift()
    t.equal(await hurry(house, id), 1, name)
    like(t, await tenants.get(id), { status: 'deleted', job: null }, name)
    t.strictSame(await traces(house, id), { ...NOTHING, tenants: 1 }, name)
    t.strictSame(failures, [], name)
  }
})

t.test('a move that the control database refuses to go on with is tried again, and ends', async (t) => {
  const house = await openHouse(t, { url, vaultKeys })
  const { db, failures, tenants } = house
  const { id } = (await tenants.onboard({ name: 'Moved', placement: 'row' })).tenant
  await addUsers(house, id, 5)
  const progress: Refusal = {
    table: 'jobs',
    verb: 'update',
    when: 'new.progress is distinct from old.progress',
  }
  const noted: Refusal = {
    table: 'tenants',
    verb: 'update',
    when: 'new.promoted_at is distinct from old.promoted_at',
  }
  const ended: Refusal = { table: 'jobs', verb: 'delete' }
  const refusals = {
    promote: [...['partition', 'copy', 'verify', 'switch', 'note'].map(entering), progress, noted, ended],
    demote: [...['return', 'note'].map(entering), progress, noted, ended],
  }
  for (let round = 0; round < refusals.promote.length; round++) {
    for (const direction of ['promote', 'demote'] as const) {
      const refusal = refusals[direction][round]
      const name = `${direction}: ${refusal === undefined ? 'nothing is refused' : textOf(refusal)}`
      const lift = refusal && (await refuse(db, refusal))
      like(t, await tenants[direction](id), { job: { kind: direction } }, name)
      if (lift === undefined) {
        while ((await tenants.get(id)).job !== null) await new Promise(setImmediate)
      } else {
        await leftBehind(house, id)
        like(t, failures.splice(0), [[{ kind: direction, tenantId: id }, { code: NO_ROOM }]], name)
        await lift()
        t.equal(await hurry(house, id), 1, name)
      }
      const isPromoted = direction === 'promote'
      like(t, await tenants.get(id), { job: null, partition: isPromoted ? Object : null }, name)
      t.strictSame(await layout(house, id), { [isPromoted ? 'own' : 'common']: 5, left: 0 }, name)
      t.strictSame(failures, [], name)
    }
  }
})
