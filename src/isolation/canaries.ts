import { createHash, randomUUID } from 'node:crypto'
import { isLessorError } from '../errors.ts'
import type { Db } from '../pool/statement.ts'
import { CANARY_NAMESPACE } from '../tenants/namespace.ts'
import type { NamespaceService } from '../tenants/namespace-service.ts'
import type { TenantService } from '../tenants/tenant-service.ts'
import { type Canary, findCanary, listUses, type Use } from './canary-store.ts'
import { inTables, type StageServices } from './open-stages.ts'
import type { Stage, StageTenant } from './stage.ts'
import { orUntried, type Untried } from './untried.ts'

export interface CanaryOptions extends Omit<StageServices, 'tenants'>, Untried {
  readonly db: Db
  readonly tenants: Pick<TenantService, 'onboard'>
  readonly namespaces: Pick<NamespaceService, 'create'>
}

/**
 * canaryStages gives a stage for each placement that is in use on each data server: two tenants of the namespace
 * `lessor-canary`, onboarded when they are first wanted and kept.
 * @throws what TenantService.onboard throws, unless `onUntried` hears of it
 */
export async function* canaryStages(options: CanaryOptions): AsyncGenerator<Stage> {
  for (const use of await listUses(options.db)) {
    const placement = options.placements.get(use.placement)
    // Another version of the service may have tenants in one that this version does not offer.
    if (placement === undefined) continue
    const pair = await orUntried(options, () => canaries(options, use))
    if (pair === undefined) continue
    const [own, other] = pair
    yield {
      ...use,
      hasOwnTables: placement.hasOwnTables,
      own,
      other,
      gone: { id: randomUUID(), target: undefined },
      roles: [
        {
          name: placement.hasOwnLogin ? 'login' : 'runtime',
          before: [],
          target: async () => own.target,
        },
      ],
      inTables: (fn) => inTables(options.servers, use.server, own.target, fn),
    }
  }
}

async function canaries(options: CanaryOptions, use: Use): Promise<readonly [StageTenant, StageTenant]> {
  return [await canary(options, use, 'a'), await canary(options, use, 'b')]
}

async function canary(options: CanaryOptions, use: Use, which: 'a' | 'b'): Promise<StageTenant> {
  const name = `canary ${which} ${use.placement} ${use.server}`
  const { id, generation } =
    (await findCanary(options.db, CANARY_NAMESPACE, name.toLowerCase())) ??
    (await onboard(options, use, name))
  const target = await options.locate({ tenantId: id, generation }, options.signal)
  // The same each time, as the rows are that hold it.
  const marker = `canary ${createHash('sha256').update(id).digest('hex').slice(0, 16)}`
  return { id, target, name, marker }
}

async function onboard(options: CanaryOptions, use: Use, name: string): Promise<Canary> {
  await options.namespaces.create(CANARY_NAMESPACE).catch((error: unknown) => {
    if (!isLessorError(error) || error.code !== 'NAMESPACE_NAME_TAKEN') throw error
  })
  const { tenant } = await options.tenants.onboard({ ...use, name, namespace: CANARY_NAMESPACE })
  return { id: tenant.id, generation: 1 }
}
