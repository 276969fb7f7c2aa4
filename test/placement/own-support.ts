import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Test } from 'tap'
import type { AdminDb } from '../../src/placement/placement.ts'
import { hexOf, ownerName } from '../../src/placement/tenant-names.ts'
import { ident, type ScriptDb, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { type ConnectionDb, openAdmin, openTenant, ownPlacements, provisionTenant } from './support.ts'

export type OwnPlacement = ReturnType<typeof ownPlacements>[number]
export const OWN_NAMES = ['schema', 'database'] as const
export type OwnName = (typeof OWN_NAMES)[number]

/** ownPlacement is one of the two whose tenants have tables of their own; `app` stands for sql/app. */
export function ownPlacement(name: OwnName, app?: URL): OwnPlacement {
  const found = ownPlacements(app).find((each) => each.name === name)
  if (found === undefined) throw new Error(`bug: no placement ${name}`)
  return found
}

/** prepared is a data server's database that is ready for the placement. */
export async function prepared(t: Test, name: OwnName) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = ownPlacement(name)
  // Its tables are beside the others' on a real server.
  for (const each of ownPlacements()) await each.prepare(admin)
  return { url, admin, placement }
}

/** twoTenants is a tenant and its neighbour, each with a session and a row. */
export async function twoTenants(t: Test, name: OwnName) {
  const house = await prepared(t, name)
  const { url, admin, placement } = house
  const [own, other] = [
    await provisionTenant(t, placement, admin),
    await provisionTenant(t, placement, admin),
  ]
  const [db, otherDb] = [await openTenant(t, url, placement, own), await openTenant(t, url, placement, other)]
  for (const each of [db, otherDb]) {
    await each.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
  }
  return { ...house, own, other, db, otherDb }
}

/** asOwner runs work as the tenant's owner role, as a tenant does for its own DDL. */
export async function asOwner<T>(db: ConnectionDb, tenantId: string, work: () => Promise<T>): Promise<T> {
  await db.query(sql`set role ${ident(ownerName(tenantId))}`)
  try {
    return await work()
  } finally {
    await db.query(sql`reset role`)
  }
}

/** appFiles is a folder that stands for sql/app. */
export async function appFiles(t: Test, files: Readonly<Record<string, string>>): Promise<URL> {
  const folder = await mkdtemp(join(tmpdir(), 'lessor-app-'))
  t.teardown(() => rm(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return pathToFileURL(`${folder}/`)
}

/** inOwn runs work as the administrator where a tenant's own tables are. */
export function inOwn<T>(
  admin: AdminDb,
  placement: OwnPlacement,
  tenantId: string,
  work: (db: ScriptDb) => Promise<T>,
): Promise<T> {
  const { database } = placement.login(tenantId, 'blue')
  return database === undefined ? work(admin) : admin.inDatabase(database, work)
}

/** leftOf is what a data server has of a tenant. */
export async function leftOf(admin: ScriptDb, tenantId: string) {
  const hex = hexOf(tenantId)
  const [row] = await admin.query(sql`
    select
      (select count(*)::integer from pg_roles where rolname like ${`%${hex}%`}) as roles,
      (select count(*)::integer from pg_namespace where nspname = ${`t_${hex}`}) as schemas,
      (select count(*)::integer from pg_database where datname = ${`t_${hex}`}) as databases,
      (select count(*)::integer from lessor.schema_migrations where schema_name = ${`t_${hex}`}) as lines`)
  return row
}

/** NOTHING is what leftOf finds of a tenant that never was. */
export const NOTHING = { roles: 0, schemas: 0, databases: 0, lines: 0 }
