import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import type { AdminDb } from '../../src/placement/placement.ts'
import { runProbe } from '../../src/servers/probe.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { rewritingAdmin } from './rewriting-admin.ts'

const { url } = await testDatabase(t)
const address = parseDatabaseUrl(url)
const admin = new ServerAdmin({ address })
t.teardown(() => admin.close())

/** The password of each login that is made. */
function wrongPasswords(onWrong: AdminDb['asLogin']): AdminDb {
  const passwords = new Map<string, string>()
  return {
    ...rewritingAdmin(admin, (text) => text),
    asLogin: (login, fn) => {
      const { user, password } = login
      const known = passwords.get(user)
      if (known === undefined) passwords.set(user, password.reveal())
      // A probe uses the right one first.
      if (known !== undefined && known !== password.reveal()) return onWrong(login, fn)
      return admin.asLogin(login, fn)
    },
  }
}

t.test('there is nothing to note of a server that looks at passwords', async (t) => {
  let wrong = 0
  const found = await runProbe({
    admin: wrongPasswords((login, fn) => {
      wrong += 1
      return admin.asLogin(login, fn)
    }),
    address,
  })
  t.strictSame([...found.notes], [])
  t.equal(wrong, 1)
})

t.test('a server that lets a login in with a wrong password is noted, and costs no placement', async (t) => {
  const found = await runProbe({ admin: wrongPasswords((_, fn) => fn(admin)), address })
  t.strictSame(
    [...found.notes],
    ['The server lets logins in without looking at their passwords (pg_hba.conf: trust)'],
  )
  t.strictSame([[...found.placements], [...found.problems]], [['row', 'role', 'schema', 'database'], []])
})

t.test('a server that does not answer to a wrong password has said nothing', async (t) => {
  const failing = wrongPasswords(() => Promise.reject(new Error('the cable')))
  await rejectsLike(t, runProbe({ admin: failing, address }), { message: 'the cable' })
})
