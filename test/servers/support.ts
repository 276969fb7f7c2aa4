import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { dataFiles } from '../../src/control/data-files.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { DatabasePlacement } from '../../src/placement/database-placement.ts'
import type { Placement } from '../../src/placement/placement.ts'
import { RolePlacement } from '../../src/placement/role-placement.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { SchemaPlacement } from '../../src/placement/schema-placement.ts'
import { sql } from '../../src/pool/statement.ts'
import { DataServers, type DataServersOptions } from '../../src/servers/data-servers.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { generateVaultKeys, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'

/** openServers makes the data servers of one process, with a vault of its own unless one is given. */
export function openServers(
  options: Omit<DataServersOptions, 'vault'> & Partial<DataServersOptions>,
): DataServers {
  return new DataServers({ vault: makeVault(), ...options })
}

export function makeVault(keys = generateVaultKeys()): Vault {
  return new Vault(parseVaultKeys(keys))
}

/** allPlacements are the placements as the service wires them. */
export function allPlacements(): readonly Placement[] {
  const files = dataFiles()
  return [
    new RolePlacement({ files }),
    new RowPlacement({ files }),
    new SchemaPlacement({ files }),
    new DatabasePlacement({ files }),
  ]
}

/** Hall is a database that can become a data server, and what it takes to change it behind the service's back. */
export interface Hall {
  /** Of an administrator who is no superuser. */
  readonly url: string
  /** Of the database, and of the administrator. */
  readonly name: string
  readonly password: string
  readonly superuser: ServerAdmin
}

/** makeHall makes a database and its administrator on the server of a superuser's URL. */
export async function makeHall(
  t: Test,
  serverUrl: string,
  attributes = 'createrole createdb',
): Promise<Hall> {
  const superuser = new ServerAdmin({ address: parseDatabaseUrl(serverUrl) })
  t.teardown(() => superuser.close())
  const name = `hall_${randomUUID().slice(0, 8)}`
  const password = randomUUID()
  await superuser.script(`create role ${name} login ${attributes} password '${password}'`)
  // So that an administrator after the first one may use the group roles.
  const [groups] = await superuser.query<{ names: string | null }>(sql`
    select string_agg(rolname, ', ') as names from pg_roles
    where rolname in ('lessor_owner', 'lessor_tenant', 'lessor_row', 'lessor_keeper', 'lessor_schema', 'lessor_ddl')`)
  if (groups?.names) await superuser.script(`grant ${groups.names} to ${name} with admin option`)
  await superuser.script(`create database ${name} owner ${name}`)
  const url = new URL(serverUrl)
  url.username = name
  url.password = password
  url.pathname = `/${name}`
  return { url: url.href, name, password, superuser }
}
