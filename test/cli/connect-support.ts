import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { type Db, sql } from '../../src/pool/statement.ts'
import { testApp } from '../support/app.ts'
import { compileCache } from '../support/compile-cache.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

/** A service with a tenant of placement role, one of row, and a row of each and of a third one. */
export async function openConnect(t: Test) {
  const { app, lessor, databaseUrl, operatorKey, vaultKeys, operator, onboard } = await testApp(t)
  const { id } = await onboard('acme')
  await lessor.tenants.onboardBatch({ tenants: [{ name: 'small' }, { name: 'other' }] })
  await lessor.servers.admin('default').then((admin) =>
    admin.query(sql`
      insert into app.users (tenant_id, first_name, last_name)
      select id, initcap(name), 'Row' from lessor.tenants`),
  )
  const environment = { DATABASE_URL: databaseUrl, OPERATOR_KEY: operatorKey, VAULT_KEYS: vaultKeys }
  const folder = t.testdir()

  function start(path: string | undefined, ...args: string[]) {
    const child = spawn(process.execPath, [CLI, 'connect', ...args], {
      cwd: folder,
      env: { ...compileCache(), ...environment, ...(path !== undefined && { PATH: path }) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const output = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output.stderr += text
    })
    const ended = once(child, 'close').then(([code, signal]) => ({ status: code ?? signal, ...output }))
    return { child, output, ended }
  }

  return {
    app,
    id,
    lessor,
    operator,
    databaseUrl,
    start,
    run: (path: string | undefined, ...args: string[]) => start(path, ...args).ended,
    visitors: () => lessor.servers.admin('default').then(visitorsOf),
  }
}

/** The logins of people, and those that are written down and not there. */
export function visitorsOf(db: Pick<Db, 'query'>): Promise<readonly object[]> {
  return db.query(
    sql`select rolname from pg_roles join lessor.visits on role = rolname
        union all select role from lessor.visits where to_regrole(role) is null`,
  )
}

/** A folder with a program `psql` that is this shell script. */
export function standIn(t: Test, script: string): string {
  const folder = t.testdir({ psql: `#!/bin/sh\n${script}\n` })
  chmodSync(join(folder, 'psql'), 0o755)
  return `${folder}:/usr/bin:/bin`
}
