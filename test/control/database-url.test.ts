import { inspect } from 'node:util'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'

t.test('a database URL is read with everything percent-decoded', async (t) => {
  const address = parseDatabaseUrl('postgres://o%40ps:p%3Aw%2F@db.example:6432/my%20db?sslmode=verify-full')
  t.match(address, { host: 'db.example', port: 6432, database: 'my db', user: 'o@ps', tls: 'verify-full' })
  t.equal(address.password.reveal(), 'p:w/')
  t.notMatch(inspect(address), /p:w/)
})

t.test('what a URL leaves out has its usual value', async (t) => {
  const address = parseDatabaseUrl('postgresql://me@localhost/data')
  t.match(address, { host: 'localhost', port: 5432, tls: 'disable' })
  t.equal(address.password.reveal(), '')
})

t.test('IPv6 addresses and socket directories are hosts as well', async (t) => {
  t.equal(parseDatabaseUrl('postgres://me@[::1]:5433/data').host, '::1')
  t.equal(parseDatabaseUrl('postgres://me@%2Fvar%2Frun%2Fpostgresql/data').host, '/var/run/postgresql')
})

t.test('a wrong URL is refused without being printed', async (t) => {
  const cases: [url: string, message: RegExp][] = [
    ['', /must have the form/],
    ['mysql://me:hunter2@localhost/data', /must have the form/],
    ['postgres://me:hunter2@localhost:99999/data', /must have the form/],
    ['postgres://me:%zz-hunter2@localhost/data', /percent-encoded/],
    ['postgres://me:hunter2@localhost', /a user, a host and a database/],
    ['postgres://me:hunter2@localhost/data?sslmode=prefer', /disable, require or verify-full/],
    ['postgres://me:hunter2@localhost/data?options=-cfoo', /"options"/],
  ]
  for (const [url, message] of cases) {
    t.throws(() => parseDatabaseUrl(url), { message }, url)
    try {
      parseDatabaseUrl(url)
    } catch (error) {
      t.notMatch(inspect(error), /hunter2/, url)
    }
  }
})
