import type { Watch } from './watch.ts'

/**
 * clearAway removes what is left on the data server of a tenant that the service could not delete: its sessions, prepared
 * transactions, database, roles and all that these own, as far as it can.
 * @throws the server's error
 */
export async function clearAway(watch: Watch, hex: string): Promise<void> {
  const roles = await names(watch, `select rolname from pg_roles where rolname ~ '${hex}'`)
  for (const role of roles) await watch.run(`alter role ${role} nologin`)
  await watch.run(`select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename ~ '${hex}'`)
  await rollBackPrepared(watch, hex)
  await watch.run(`drop database if exists t_${hex} with (force)`)
  for (const role of roles) {
    const databases = await names(
      watch,
      `select distinct d.datname from pg_shdepend s join pg_database d on d.oid = s.dbid
        where s.refclassid = 'pg_authid'::regclass and s.refobjid = '${role}'::regrole`,
    )
    for (const database of databases) await watch.elsewhere(database, `drop owned by ${role} cascade`)
  }
  for (const role of roles) await watch.run(`drop owned by ${role}; drop role ${role}`)
}

/** rollBackPrepared ends the prepared transactions whose names or roles match, since one outlives its role, and resolves with the databases that had one. */
export async function rollBackPrepared(watch: Watch, pattern: string): Promise<readonly string[]> {
  const prepared = await watch.run(
    `select gid, database from pg_prepared_xacts where owner ~ '(${pattern})' or gid ~ '(${pattern})'`,
  )
  const databases: string[] = []
  for (const [gid, database] of prepared) {
    if (database === null || database === undefined) continue
    databases.push(database)
    await watch.elsewhere(database, `rollback prepared '${gid}'`)
  }
  return databases
}

async function names(watch: Watch, text: string): Promise<readonly string[]> {
  return (await watch.run(text)).map(([name]) => name ?? '')
}
