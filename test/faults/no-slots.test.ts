import postgres from 'postgres'
import t from 'tap'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { PATIENT } from '../support/patient.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { TENANT_LOGIN } from './logins.ts'
import { OwnServer } from './own-server.ts'
import { Stage } from './stage.ts'

const SLOTS = 32
/** For the service's connections as superuser and the test's own: control 2, listener 1, administrators 3, tests. */
const RESERVED = 10

/** Hogs are other people's sessions at a server, as many as there are slots for them. */
class Hogs {
  readonly #url: string
  readonly #sessions: postgres.Sql[] = []

  constructor(url: string) {
    this.#url = url
  }

  /** take takes every slot that is free now. */
  async take(): Promise<void> {
    await Promise.all(
      Array.from({ length: SLOTS }, async () => {
        const session = postgres(this.#url, { max: 1, max_lifetime: null })
        try {
          await session`select 1`
          this.#sessions.push(session)
        } catch (error) {
          await session.end()
          // too_many_connections
          if (errorCode(error) !== '53300') throw error
        }
      }),
    )
  }

  get count(): number {
    return this.#sessions.length
  }

  async leave(): Promise<void> {
    await Promise.all(this.#sessions.splice(0).map((session) => session.end()))
  }
}

t.test('somebody else takes every connection of the server, and leaves again', async (t) => {
  const server = await OwnServer.start(t, { maxConnections: SLOTS })
  // As a superuser the service itself has the slots that are reserved.
  await server.configure({ superuser_reserved_connections: RESERVED })
  const stage = await Stage.open(t, {
    url: server.url,
    environment: { ...PATIENT, CONTROL_MAX_CONNECTIONS: '2' },
  })
  await withAdmin(server.url, async (admin) => {
    await admin`create role hog login password 'hog'`
    await admin`grant connect on database postgres to hog`
  })
  const hogs = new Hogs(server.url.replace(/\/\/[^@]+@/, '//hog:hog@'))
  t.teardown(() => hogs.leave())
  const traffic = await stage.traffic(t)

  await hogs.take()
  traffic.since()
  await eventually(() => traffic.unserved(10))
  t.equal(traffic.failed, 0, 'tenants that have connections go on')

  // When theirs are lost, others are faster.
  await eventually(async () => {
    await withAdmin(
      server.url,
      (admin) => admin`
        select pg_terminate_backend(pid) from pg_stat_activity where usename ~ ${TENANT_LOGIN.source}`,
    )
    await hogs.take()
    return (await stage.backends()) === 0 ? undefined : `${hogs.count} connections taken`
  })
  const lost = traffic.failed
  await eventually(() => (traffic.failed >= lost + 100 ? undefined : `${traffic.failed} requests refused`))
  t.comment(`${hogs.count} connections taken`)
  await hogs.leave()
  await stage.recovered(t, traffic)
  await stage.judge(t, traffic, [
    'CONNECTION_LOST',
    'POOL_OPEN_FAILED',
    'POOL_SATURATED',
    'TENANT_UNAVAILABLE',
    'SERVER_UNAVAILABLE',
  ])
  await stage.close(t)
})
