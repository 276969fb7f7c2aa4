import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { encodeCursor } from '../../src/tenants/cursor.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

t.test('tenants are listed page by page, newest first, each once', async (t) => {
  const { db, tenants, namespaces } = await openHouse(t, { url })
  await namespaces.create('other')
  // Several share a time of creation to the microsecond, and some differ by less than a millisecond.
  await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status, created_at)
    select gen_random_uuid(), n.id, 'tenant ' || i, 'tenant ' || i, 'role', 'default',
      case when i % 7 = 0 then 'deleted' when i % 5 = 0 then 'suspended' else 'active' end,
      '2026-01-01 00:00:00.000001+00'::timestamptz + (i / 3) * interval '1 microsecond'
    from generate_series(1, 50) i
    join lessor.namespaces n on n.name = case when i % 2 = 0 then 'default' else 'other' end`)
  const all = await db.query<{ id: string; status: string; namespace: string }>(sql`
    select t.id, t.status, n.name as namespace
    from lessor.tenants t join lessor.namespaces n on n.id = t.namespace_id
    order by t.created_at desc, t.id desc`)
  async function readAll(limit: number, filter: { namespace?: string; status?: 'deleted' | 'suspended' }) {
    const ids: string[] = []
    let cursor: string | null = null
    do {
      const page: Awaited<ReturnType<typeof tenants.list>> = await tenants.list({
        limit,
        ...filter,
        ...(cursor !== null && { cursor }),
      })
      ids.push(...page.records.map((each) => each.id))
      cursor = page.nextCursor
    } while (cursor !== null)
    return ids
  }
  const ids = (rows: typeof all) => rows.map((each) => each.id)
  const living = all.filter((each) => each.status !== 'deleted')
  for (const limit of [1, 7, living.length, 100])
    t.strictSame(await readAll(limit, {}), ids(living), `limit ${limit}`)
  t.strictSame(await readAll(4, { status: 'deleted' }), ids(all.filter((each) => each.status === 'deleted')))
  t.strictSame(
    await readAll(4, { namespace: 'Other', status: 'suspended' }),
    ids(all.filter((each) => each.status === 'suspended' && each.namespace === 'other')),
  )
  await rejectsLike(t, tenants.list({ limit: 1, namespace: 'nowhere' }), { code: 'NAMESPACE_NOT_FOUND' })
  like(t, Object.fromEntries(await tenants.countByStatus()), {
    deleted: all.filter((each) => each.status === 'deleted').length,
    suspended: all.filter((each) => each.status === 'suspended').length,
  })
})

t.test('a cursor that no list returned is refused', async (t) => {
  const { tenants, namespaces } = await openHouse(t, { url })
  const id = '00000000-0000-0000-0000-000000000000'
  const cursors = [
    '',
    'nonsense',
    '%00',
    encodeCursor([]),
    encodeCursor([id]),
    encodeCursor(["1'; --", id]),
    encodeCursor(['99999999999999999', id]),
    encodeCursor(['1', id, id]),
    Buffer.from('{"0":1}').toString('base64url'),
    Buffer.from('null').toString('base64url'),
  ]
  for (const cursor of cursors) {
    await rejectsLike(t, tenants.list({ limit: 1, cursor }), {
      code: 'INVALID_REQUEST',
      errors: [{ in: 'query', path: 'cursor' }],
    })
  }
  await t.resolves(tenants.list({ limit: 1, cursor: encodeCursor(['9999999999999999', id]) }))
  await rejectsLike(t, namespaces.list({ limit: 1, cursor: encodeCursor(['a', 'b']) }), {
    code: 'INVALID_REQUEST',
  })
  await rejectsLike(t, namespaces.list({ limit: 1, cursor: encodeCursor(['\0']) }), {
    code: 'INVALID_REQUEST',
  })
})

t.test('namespaces have names that are unique whatever their case, and are listed by name', async (t) => {
  const { namespaces } = await openHouse(t, { url })
  like(t, await namespaces.create('Zebra'), { name: 'Zebra', createdAt: Date })
  await namespaces.create('ant.1_x-y')
  for (const name of ['zebra', 'ZEBRA', 'Default']) {
    await rejectsLike(t, namespaces.create(name), { code: 'NAMESPACE_NAME_TAKEN' }, name)
  }
  for (const name of ['', ' a', '-a', 'a b', 'ä', 'a'.repeat(64), 'a/b']) {
    await rejectsLike(
      t,
      namespaces.create(name),
      { code: 'INVALID_REQUEST', errors: [{ path: '/name' }] },
      name,
    )
  }
  await namespaces.create('9'.repeat(63))
  like(t, await namespaces.find('ZEBRA'), { name: 'Zebra' })
  t.equal(await namespaces.find('nowhere'), undefined)
  const names: string[] = []
  let cursor: string | null = null
  do {
    const page: Awaited<ReturnType<typeof namespaces.list>> = await namespaces.list({
      limit: 2,
      ...(cursor !== null && { cursor }),
    })
    names.push(...page.records.map((each) => each.name))
    cursor = page.nextCursor
  } while (cursor !== null)
  t.strictSame(names, ['9'.repeat(63), 'ant.1_x-y', 'default', 'other', 'Zebra'])
})
