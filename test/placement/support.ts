import { randomUUID } from 'node:crypto'
import { dataFiles } from '../../src/control/data-files.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { DatabasePlacement } from '../../src/placement/database-placement.ts'
import type { AdminDb, Colour, Placement, RoleLimits } from '../../src/placement/placement.ts'
import { RolePlacement } from '../../src/placement/role-placement.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { SchemaPlacement } from '../../src/placement/schema-placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { ConnectionDb as RawConnectionDb } from '../../src/pool/connection-db.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { Statement } from '../../src/pool/statement.ts'
import type { Secret } from '../../src/secret.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'

/** Scope is what ends: a tap test, or tap itself for a whole file. */
export interface Scope {
  teardown(fn: () => unknown): void
}

export const LIMITS: RoleLimits = {
  connectionLimit: 20,
  statementTimeoutMs: 30_000,
  idleInTransactionTimeoutMs: 20_000,
  tempFileLimitKb: 65_536,
}

/** rolePlacement is the placement as app.ts wires it; `notices` collects what it has to say. */
export function rolePlacement(notices: string[] = []): RolePlacement {
  return new RolePlacement({ files: dataFiles(), notice: (message) => notices.push(message) })
}

export function rowPlacement(): RowPlacement {
  return new RowPlacement({ files: dataFiles() })
}

/** ownPlacements are those whose tenants have tables of their own; `app` stands for sql/app. */
export function ownPlacements(app?: URL): readonly (SchemaPlacement | DatabasePlacement)[] {
  const files = dataFiles(app)
  return [new SchemaPlacement({ files }), new DatabasePlacement({ files })]
}

/** openAdmin connects as the login of a URL, with an administrator's few connections. */
export function openAdmin(t: Scope, url: string): ServerAdmin {
  const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
  t.teardown(() => admin.close())
  return admin
}

export interface ProvisionedTenant {
  readonly id: string
  readonly colour: Colour
  readonly password: Secret
}

/** provisionTenant gives a new tenant a login and drops it when the test ends. */
export async function provisionTenant(
  t: Scope,
  placement: Placement,
  admin: AdminDb,
  { id = randomUUID() as string, colour = 'blue' as Colour, limits = LIMITS } = {},
): Promise<ProvisionedTenant> {
  const password = randomPassword()
  // Roles outlive the database of a test, which is dropped only after this.
  t.teardown(() => placement.unprovision(admin, id))
  await placement.provision(admin, { tenantId: id, colour, verifier: scramVerifier(password), limits })
  return { id, colour, password }
}

/** openTenant logs in as a tenant; the connection closes when the test ends. */
export async function openTenant(
  t: Scope,
  url: string,
  placement: Placement,
  tenant: ProvisionedTenant,
  parameters: Readonly<Record<string, string>> = {},
): Promise<ConnectionDb> {
  const login = placement.login(tenant.id, tenant.colour)
  const withLogin = new URL(url)
  withLogin.username = login.user
  withLogin.password = tenant.password.reveal()
  if (login.database !== undefined) withLogin.pathname = `/${login.database}`
  return openSession(t, withLogin.href, { ...login.parameters, ...parameters })
}

/** openSession connects as the login of a URL, on one connection that closes when the test ends. */
export async function openSession(
  t: Scope,
  url: string,
  parameters: Readonly<Record<string, string>> = {},
): Promise<ConnectionDb> {
  const { host, port, database, tls, user, password } = parseDatabaseUrl(url)
  const target = { server: 'default', host, port, database, tls, user, password, parameters }
  const connection = await openConnection(target, AbortSignal.timeout(10_000))
  t.teardown(() => connection.destroy())
  return new ConnectionDb(connection)
}

/** ConnectionDb is a Db on one connection, for tests that do without the pool engine. */
export class ConnectionDb extends RawConnectionDb {
  /** run is query for text that a test puts together. */
  async run(text: string): Promise<readonly Record<string, unknown>[]> {
    return this.query(new Statement(Object.assign([text], { raw: [text] }), []))
  }
}
