import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { sql } from '../../src/pool/statement.ts'
import { appFolder, environment, hasTable, NOTES, onboard, openFleetHouse } from '../fleet/house.ts'
import { compileCache } from '../support/compile-cache.ts'
import { testDatabase } from '../support/database.ts'
import { like, sameRows } from '../support/like.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

/** lessorMigrate runs the real command on a database, with files of sql/app. */
async function lessorMigrate(
  t: Test,
  { appFiles, url }: { readonly appFiles: string; readonly url: string },
  args: readonly string[],
) {
  const child = spawn(process.execPath, [CLI, 'migrate', ...args], {
    cwd: t.testdir(),
    env: {
      ...compileCache(),
      ...environment,
      DATABASE_URL: url,
      APP_SQL_DIR: appFiles,
      PATH: process.env.PATH,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { status: child.exitCode, out, errors }
}

t.test(
  'the command reads its configuration from the environment, and its filter from the arguments',
  async (t) => {
    const { url } = await testDatabase(t, { template: 'control' })
    const { lessor } = await openFleetHouse(t, { url, serves: true })
    const plan = { url, appFiles: await appFolder(t, { '000002-notes.sql': NOTES }) }
    const [id = ''] = await onboard(t, lessor, 'schema')
    const { name } = await lessor.tenants.get(id)
    const lessorCommand = (...args: string[]) => lessorMigrate(t, plan, args)
    const preview = await lessorCommand('--dry-run', '--tenant', name)
    t.strictSame(preview.out.split('\n'), [
      'shared tables of default: would run 000002-notes',
      `${name} on default: would run 000002-notes`,
      '',
    ])
    t.equal(await hasTable(lessor, id, 'notes'), false, 'a dry run changes nothing')
    like(t, await lessorCommand('--tenant', name, '--canary', name), {
      status: 0,
      out: /^Every tenant is at version 2: 1 migrated, in [\d.]+ s\.\n$/,
      errors: [
        'Tenants to be brought to version 2: 1; 0 may fail.',
        'shared tables of default: 000002-notes',
        'canaries: 1',
        '',
      ].join('\n'),
    })
    t.equal(await hasTable(lessor, id, 'notes'), true)
    await lessor.control.query(sql`update lessor.tenants set schema_version = null where id = ${id}`)
    like(t, await lessorCommand('--max-failures', '0'), { status: 0, out: /: 1 migrated/ })
    t.equal((await lessor.tenants.get(id)).schemaVersion, 2, 'what the ledger says is found out')
    like(t, await lessorCommand('--tenant', 'nobody'), {
      status: 1,
      out: '',
      errors: /^lessor migrate: There is no tenant "nobody" that lives\. \(TENANT_NOT_FOUND\)\n$/,
    })
    like(t, await lessorCommand('--concurrency', 'many'), { status: 2, out: '' })
  },
)

t.test(
  'a dry run beside a control database that is older, or not there yet, leaves it as it is',
  async (t) => {
    const { url } = await testDatabase(t)
    const plan = { url, appFiles: await appFolder(t, {}) }
    like(t, await lessorMigrate(t, plan, ['--dry-run']), {
      status: 1,
      out: '',
      errors: 'lessor migrate: The control database is older than this version of Lessor\n',
    })
    const db = new ControlDatabase({ url })
    t.teardown(() => db.close())
    sameRows(t, await db.query(sql`select to_regnamespace('lessor') as schema`), [{ schema: null }])
  },
)

t.test('on a new installation the command makes everything ready', async (t) => {
  const { url } = await testDatabase(t)
  const plan = { url, appFiles: await appFolder(t, { '000002-notes.sql': NOTES }) }
  like(t, await lessorMigrate(t, plan, []), {
    status: 0,
    out: /^Every tenant is at version 2: 0 migrated/,
    errors: /shared tables of default: 000001-users, 000002-notes\n$/,
  })
})
