import { randomBytes, randomUUID } from 'node:crypto'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import type { Stage, StageLimits, StageRole, StageTenant } from '../../src/isolation/stage.ts'
import type { AdminDb, Placement } from '../../src/placement/placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import type { ConnectionTarget } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import type { Secret } from '../../src/secret.ts'
import type { Colour } from '../../src/tenants/tenant.ts'
import { LIMITS, type Scope } from '../placement/support.ts'

/** stageLimits are those of a proof on a server of the tests. */
export function stageLimits(more: Partial<StageLimits> = {}): StageLimits {
  return {
    connect: openConnection,
    connectTimeoutMs: 20_000,
    isBounded: false,
    signal: AbortSignal.timeout(110_000),
    ...more,
  }
}

/** StageFor is a placement with what its stage needs. */
export interface StageFor {
  readonly placement: Placement
  readonly admin: AdminDb
  readonly url: string
  /** The login of all tenants, where they have none of their own. */
  readonly runtime?: { readonly user: string; readonly password: Secret }
}

/** placementStage provisions the tenants of a stage by the placement alone, without the service; gone with `t`. */
export async function placementStage(t: Scope, options: StageFor): Promise<Stage> {
  const { placement, admin } = options
  const [own, other, gone] = [await tenant(t, options), await tenant(t, options), await tenant(t, options)]
  if (placement.hasOwnLogin) await placement.unprovision(admin, gone.id)
  return {
    placement: placement.name,
    server: 'default',
    hasOwnTables: placement.hasOwnTables,
    own,
    other,
    gone,
    roles: rolesOf(options, own),
    inTables: (fn) =>
      own.target.database === parseDatabaseUrl(options.url).database
        ? fn(admin)
        : admin.inDatabase(own.target.database, fn),
  }
}

async function tenant(t: Scope, options: StageFor): Promise<StageTenant> {
  const id = randomUUID()
  const { placement, admin } = options
  // Roles outlive the database of a test, which is dropped only after this.
  if (placement.hasOwnLogin) t.teardown(() => placement.unprovision(admin, id))
  const target = await loginOf(options, id, 'blue')
  return {
    id,
    target,
    name: `proof ${randomBytes(8).toString('hex')}`,
    marker: `canary ${randomBytes(8).toString('hex')}`,
  }
}

async function loginOf(
  { placement, admin, url, runtime }: StageFor,
  tenantId: string,
  colour: Colour,
): Promise<ConnectionTarget> {
  const { host, port, database, tls } = parseDatabaseUrl(url)
  const { user, parameters, database: ownDatabase } = placement.login(tenantId, colour)
  const target = { server: 'default', host, port, tls, database: ownDatabase ?? database, parameters }
  if (runtime !== undefined) return { ...target, ...runtime, isShared: true }
  const password = randomPassword()
  const verifier = scramVerifier(password)
  await placement.provision(admin, { tenantId, colour, verifier, limits: LIMITS })
  if (placement.hasOwnTables) await placement.migrate(admin, tenantId, { lockTimeoutMs: 0 })
  return { ...target, user, password }
}

function rolesOf(options: StageFor, { id, target }: StageTenant): readonly StageRole[] {
  const { hasOwnLogin, hasOwnTables } = options.placement
  if (!hasOwnLogin) return [{ name: 'runtime', before: [], target: async () => target }]
  const owner = `to_${id.replaceAll('-', '')}`
  return [
    { name: 'blue', before: [], target: async () => target },
    ...(hasOwnTables
      ? ([
          { name: 'owner', before: [`set local role ${owner}`], target: async () => target },
        ] satisfies StageRole[])
      : []),
    { name: 'green', before: [], target: () => loginOf(options, id, 'green') },
  ]
}
