import t from 'tap'
import type { FleetFilter } from '../../src/fleet/fleet.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'
import { hasTable, lines, migrate, onboard, openFleetHouse, request, stage } from './house.ts'

const on = (filter: Partial<FleetFilter>, options = {}) => ({
  ...request(options),
  filter: { ...request().filter, ...filter },
})

t.test('each data server has its shared tables migrated, and can be left out', async (t) => {
  const { now, next } = await stage(t)
  const hall = await testDatabase(t)
  await now.servers.register({ name: 'hall', url: new Secret(hall.url) })
  const [first = ''] = await onboard(t, now, 'schema')
  const { tenant: second } = await now.tenants.onboard({ name: 'in', placement: 'schema', server: 'hall' })
  const { tenant: shared } = await now.tenants.onboard({ name: 'all', placement: 'role', server: 'hall' })

  const only = await migrate(next, on({ servers: ['hall'] }))
  t.strictSame(only.order, [second.id])
  t.strictSame(lines(only.events).slice(0, 2), ['begin 1', 'server done 000002-notes'])
  t.equal(await hasTable(now, second.id, 'notes'), true)
  t.equal(await hasTable(now, shared.id, 'notes'), true)
  t.equal(await hasTable(now, first, 'notes'), false)

  const rest = await migrate(next)
  t.strictSame(rest.order, [first])
  t.strictSame(
    rest.events.flatMap((event) => (event.kind === 'server' ? [[event.server, event.outcome.ran]] : [])),
    [
      ['default', ['000002-notes']],
      ['hall', []],
    ],
  )
})

t.test('a data server that is away stops the run, which can go on without it', async (t) => {
  const { appFiles, now, url } = await stage(t)
  const hall = await testDatabase(t)
  await now.servers.register({ name: 'hall', url: new Secret(hall.url) })
  const [first = ''] = await onboard(t, now, 'schema')
  const { tenant: second } = await now.tenants.onboard({ name: 'in', placement: 'schema', server: 'hall' })
  await now.control.query(sql`update lessor.servers set port = 1 where name = 'hall'`)
  const { lessor: next } = await openFleetHouse(t, { url, appFiles })

  const stopped = await migrate(next, request({ attempts: 2 }))
  like(t, stopped.report, {
    reason: 'server',
    counts: { pending: 2 },
    failures: [{ id: 'hall', error: 'SERVER_UNAVAILABLE', attempts: 2 }],
  })
  t.strictSame((await migrate(next, on({ servers: ['default'] }))).order, [first])
  t.equal((await now.tenants.get(second.id)).schemaVersion, 1)

  const previews: unknown[] = []
  await next.fleet.preview(
    request(),
    ({ error, server, tenant }) => previews.push([server, tenant?.id, error]),
    new AbortController().signal,
  )
  t.strictSame(previews, [
    ['default', undefined, null],
    ['hall', undefined, 'SERVER_UNAVAILABLE'],
    ['hall', second.id, 'SERVER_UNAVAILABLE'],
  ])
})
