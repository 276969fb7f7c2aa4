import { randomUUID } from 'node:crypto'
import t from 'tap'
import { parseDatabaseUrl } from '../../../src/control/database-url.ts'
import { loginName } from '../../../src/placement/tenant-names.ts'
import { sql } from '../../../src/pool/statement.ts'
import { ServerAdmin } from '../../../src/servers/server-admin.ts'
import { LoginKeeper } from '../../../src/servers/watchdog/login-keeper.ts'
import { testDatabase } from '../../support/database.ts'

const LOOK_AGAIN_MS = 10_000

t.test(
  'a blocked login that cannot be closed keeps no other one open, and is tried at the next turn',
  async (t) => {
    const { url } = await testDatabase(t)
    const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
    t.teardown(() => admin.close())
    const names = [loginName(randomUUID(), 'blue'), loginName(randomUUID(), 'blue')].toSorted()
    for (const name of names) {
      await admin.script(`create role ${name} login`)
      t.teardown(async () => {
        const rest = new ServerAdmin({ address: parseDatabaseUrl(url) })
        await rest.script(`drop role ${name}`)
        await rest.close()
      })
    }
    const open = async () => {
      const rows = await admin.query<{ name: string }>(sql`
      select rolname as name from pg_roles where rolname = any(${names}::text[]) and rolcanlogin order by 1`)
      return rows.map(({ name }) => name)
    }
    const [first = '', second = ''] = names
    const failures: unknown[] = []
    const refusal = new Error('its block cannot be locked')
    let isRefused = true
    let lists = 0
    let time = 0
    const keeper = new LoginKeeper({
      server: 'default',
      clock: { now: () => time },
      admin: () => admin,
      logins: {
        block: async () => {},
        async list() {
          lists += 1
          return names
        },
        whileBlocked: (login, work) => (login === first && isRefused ? Promise.reject(refusal) : work()),
        current: async () => undefined,
      },
      onBlocked() {},
      onFailed: (error) => failures.push(error),
    })
    t.strictSame(await open(), [first, second])
    await keeper.turn()
    t.strictSame(await open(), [first])
    t.strictSame(failures, [refusal])
    isRefused = false
    await keeper.turn()
    t.strictSame(await open(), [])
    t.strictSame(failures, [refusal])
    await keeper.turn()
    t.equal(lists, 2, 'when all are closed, it is not looked again at once')
    time += LOOK_AGAIN_MS
    await keeper.turn()
    t.equal(lists, 3)
  },
)
