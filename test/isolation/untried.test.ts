import './own-server.ts'
import t from 'tap'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import type { Stage } from '../../src/isolation/stage.ts'
import { orUntried } from '../../src/isolation/untried.ts'
import { Secret } from '../../src/secret.ts'
import { openAdmin } from '../placement/support.ts'
import { testApp } from '../support/app.ts'
import { rejectsLike } from '../support/like.ts'
import { stageLimits } from './stages.ts'

/** A stage on a data server that does not answer. */
function awayStage(server: string): Stage {
  const tenant = { id: '00000000-0000-4000-8000-000000000000', name: 'x', marker: 'x' }
  const target = {
    server,
    host: '127.0.0.1',
    port: 1,
    database: 'x',
    user: 'x',
    password: new Secret('x'),
    tls: 'disable' as const,
    parameters: {},
  }
  return {
    placement: 'row',
    server,
    hasOwnTables: false,
    own: { ...tenant, target },
    other: { ...tenant, target },
    gone: { id: tenant.id, target: undefined },
    roles: [],
    inTables: () => Promise.reject(new Error(`${server} is away`)),
  }
}

t.test('a stage that cannot be tried ends the proof, or is told while the others are tried', async (t) => {
  const stages = [awayStage('one'), awayStage('two')]
  await rejectsLike(t, runIsolation({ stages, ...stageLimits() }), { message: 'one is away' })
  const untried: unknown[] = []
  const report = await runIsolation({ stages, ...stageLimits(), onUntried: (error) => untried.push(error) })
  t.strictSame(untried, [new Error('one is away'), new Error('two is away')])
  t.strictSame(report.stages, [])
})

t.test('a proof that is ended is not gone on with', async (t) => {
  const ended = new Error('ended')
  const untried: unknown[] = []
  const signal = AbortSignal.abort(ended)
  await rejectsLike(
    t,
    orUntried({ signal, onUntried: (error) => untried.push(error) }, () => Promise.reject(ended)),
    ended,
  )
  t.strictSame(untried, [])
})

t.test(
  'a data server that is away hides no hole of another one, and without a hole fails the proof',
  async (t) => {
    const app = await testApp(t, { ISOLATION_CRON: 'off' })
    const { isolation, servers } = app.lessor
    await app.onboard()
    servers.names = () => ['away', 'default']
    await rejectsLike(t, isolation.prove(AbortSignal.timeout(60_000)), { code: 'SERVER_NOT_FOUND' })
    await openAdmin(t, app.databaseUrl).script('create table app.forgotten (id integer primary key)')
    const report = await isolation.prove(AbortSignal.timeout(60_000))
    t.equal(report.held, false)
    t.ok(report.stages.length > 0, 'the canaries were tried as well')
    t.strictSame(
      app
        .logged()
        .filter(({ msg }) => msg === 'a part of the walls between tenants could not be tried')
        .map(({ level }) => level),
      [40, 40],
    )
  },
)

t.test('a canary that cannot be made keeps no other placement from being tried', async (t) => {
  const app = await testApp(t, { ISOLATION_CRON: 'off' })
  const { isolation, tenants } = app.lessor
  await app.onboard()
  await tenants.onboard({ name: 'schema', placement: 'schema' })
  const onboard = tenants.onboard.bind(tenants)
  tenants.onboard = (request, ...more) =>
    request.placement === 'role' ? Promise.reject(new Error('no canary')) : onboard(request, ...more)
  await openAdmin(t, app.databaseUrl).script('create table app.forgotten (id integer primary key)')
  const { held, stages } = await isolation.prove(AbortSignal.timeout(60_000))
  t.equal(held, false)
  t.strictSame(
    stages.map(({ placement }) => placement),
    ['schema'],
  )
})
