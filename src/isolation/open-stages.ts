import { randomBytes } from 'node:crypto'
import { isLessorError } from '../errors.ts'
import type { Placement } from '../placement/placement.ts'
import { hexOf } from '../placement/tenant-names.ts'
import type { ConnectionTarget, Locate } from '../pool/contract.ts'
import type { DataServers } from '../servers/data-servers.ts'
import type { PlacementName } from '../tenants/tenant.ts'
import type { TenantService } from '../tenants/tenant-service.ts'
import type { Stage, StageRole, StageTenant } from './stage.ts'

/** StageServices is what it takes of the service to set a stage. */
export interface StageServices {
  readonly tenants: Pick<TenantService, 'onboard' | 'find' | 'delete' | 'rotateCredential'>
  readonly servers: Pick<DataServers, 'admin' | 'address'>
  readonly placements: ReadonlyMap<PlacementName, Placement>
  readonly locate: Locate
}

export interface OpenStagesOptions extends StageServices {
  readonly server: string
  /** Those to try; all that the service has, without it. */
  readonly only?: readonly PlacementName[]
  readonly signal: AbortSignal
}

const POLL_MS = 25

/**
 * openStages onboards three tenants in each placement of a server, deletes one of them, and gives a stage of the
 * other two; when the next stage is asked for, they are deleted as well. A placement that is registered is tried.
 * @throws what TenantService.onboard throws
 */
export async function* openStages(options: OpenStagesOptions): AsyncGenerator<Stage> {
  for (const placement of options.placements.values()) {
    if (options.only !== undefined && !options.only.includes(placement.name)) continue
    const onboarded: string[] = []
    try {
      yield await openStage(options, placement, (id) => onboarded.push(id))
    } finally {
      for (const id of onboarded) await remove(options, id)
    }
  }
}

async function openStage(
  options: OpenStagesOptions,
  placement: Placement,
  onOnboarded: (id: string) => void,
): Promise<Stage> {
  const onboard = async () => {
    const tenant = await onboardOne(options, placement.name)
    onOnboarded(tenant.id)
    return tenant
  }
  const [own, other, gone] = [await onboard(), await onboard(), await onboard()]
  await remove(options, gone.id)
  return {
    placement: placement.name,
    server: options.server,
    hasOwnTables: placement.hasOwnTables,
    own,
    other,
    gone,
    roles: rolesOf(options, placement, own),
    inTables: (fn) => inTables(options.servers, options.server, own.target, fn),
  }
}

/** inTables runs `fn` as the administrator in the database of a login. */
export const inTables = async <T>(
  servers: Pick<DataServers, 'admin' | 'address'>,
  server: string,
  { database }: ConnectionTarget,
  fn: Parameters<Stage['inTables']>[0],
): Promise<T> => {
  const admin = await servers.admin(server)
  const { database: ownDatabase } = await servers.address(server)
  const result = database === ownDatabase ? fn(admin) : admin.inDatabase(database, fn)
  return result as Promise<T>
}

function rolesOf(
  { tenants, locate, signal }: OpenStagesOptions,
  { hasOwnLogin, hasOwnTables }: Placement,
  { id, target }: StageTenant,
): readonly StageRole[] {
  if (!hasOwnLogin) return [{ name: 'runtime', before: [], target: async () => target }]
  const owner = `to_${hexOf(id)}`
  return [
    { name: 'blue', before: [], target: async () => target },
    ...(hasOwnTables
      ? ([
          { name: 'owner', before: [`set local role ${owner}`], target: async () => target },
        ] satisfies StageRole[])
      : []),
    {
      name: 'green',
      before: [],
      async target() {
        const { generation } = await tenants.rotateCredential(id)
        return locate({ tenantId: id, generation }, signal)
      },
    },
  ]
}

async function onboardOne(options: OpenStagesOptions, placement: PlacementName): Promise<StageTenant> {
  const { server, signal } = options
  const name = `proof ${randomBytes(8).toString('hex')}`
  const { tenant } = await options.tenants.onboard({ name, placement, server })
  const target = await options.locate({ tenantId: tenant.id, generation: 1 }, signal)
  return { id: tenant.id, target, name, marker: `canary ${randomBytes(8).toString('hex')}` }
}

/** remove deletes a tenant, once no other job works on it, and waits until it is gone. */
async function remove({ tenants, signal }: OpenStagesOptions, id: string): Promise<void> {
  while (!(await isBegun(tenants.delete(id)))) await pause(signal)
  while ((await tenants.find(id))?.status !== 'deleted') await pause(signal)
}

/** Of the rotation that gave a role its green login, the end may be under way. */
async function isBegun(deletion: Promise<unknown>): Promise<boolean> {
  try {
    await deletion
    return true
  } catch (error) {
    if (isLessorError(error, 'TENANT_BUSY')) return false
    throw error
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise((resolve) => setTimeout(resolve, POLL_MS))
}
