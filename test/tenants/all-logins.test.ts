import t from 'tap'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { loginsOf } from '../../src/tenants/logins.ts'
import { testDatabase } from '../support/database.ts'
import { openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

t.test('the logins of all tenants of a data server come in full pages and a last one', async (t) => {
  const { db, tenants } = await openHouse(t, { url })
  const { id } = (await tenants.onboard({ name: 'The first' })).tenant
  const pagesOf = async (server: string) => {
    const pages: (readonly string[])[] = []
    for await (const page of loginsOf(db, server)) pages.push(page)
    return pages
  }
  t.strictSame(await pagesOf('elsewhere'), [[]])
  t.strictSame(await pagesOf('default'), [[loginName(id, 'blue')]])
  for (const [more, sizes] of [
    [199, [200, 0]],
    [201, [200, 200, 1]],
  ] as const) {
    await db.query(sql`
      with made as (
        insert into lessor.tenants (id, name, name_key, namespace_id, status, placement, server)
        select gen_random_uuid(), ${more}::integer || '/' || n, ${more}::integer || '/' || n, namespace_id, status, placement,
          server
        from lessor.tenants, generate_series(1, ${more}::integer) n where id = ${id}::uuid
        returning id)
      insert into lessor.credentials (tenant_id, colour, envelope, key_id, generation)
      select made.id, c.colour, c.envelope, c.key_id, c.generation
      from made, lessor.credentials c where c.tenant_id = ${id}::uuid`)
    const pages = await pagesOf('default')
    t.strictSame(
      pages.map(({ length }) => length),
      sizes,
    )
    const rows = await db.query<{ id: string }>(sql`select id from lessor.tenants order by id`)
    t.strictSame(
      pages.flat(),
      rows.map((row) => loginName(row.id, 'blue')),
    )
  }
})
