import { randomBytes } from 'node:crypto'
import type { Stage } from '../../src/isolation/stage.ts'
import type { AdminDb, Placement } from '../../src/placement/placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import {
  LIMITS,
  openAdmin,
  ownPlacements,
  rolePlacement,
  rowPlacement,
  type Scope,
} from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { placementStage, type StageFor } from './stages.ts'

/** House is a data server with every placement that there is. */
export interface House {
  readonly url: string
  readonly admin: AdminDb
  /** All placements, with what their stages need. */
  readonly all: readonly StageFor[]
  /** stage provisions the tenants of a placement by its name. */
  stage(t: Scope, name: Placement['name']): Promise<Stage>
}

/** openHouse makes a database with the control database's tables in it, as the default server has, and prepares it. */
export async function openHouse(t: Scope): Promise<House> {
  const { url } = await testDatabase(t, { template: 'control' })
  const admin = openAdmin(t, url)
  const row = rowPlacement()
  const placements = [rolePlacement(), row, ...ownPlacements()]
  for (const placement of placements) await placement.prepare(admin)
  const password = randomPassword()
  const user = `lessor_row_${randomBytes(6).toString('hex')}`
  await row.provisionRuntime(admin, { role: user, verifier: scramVerifier(password), limits: LIMITS })
  t.teardown(() => admin.script(`drop owned by ${user}; drop role ${user}`))
  const all = placements.map(
    (placement): StageFor => ({
      placement,
      admin,
      url,
      ...(!placement.hasOwnLogin && { runtime: { user, password } }),
    }),
  )
  return {
    url,
    admin,
    all,
    async stage(scope, name) {
      const options = all.find(({ placement }) => placement.name === name)
      if (options === undefined) throw new Error(`there is no placement ${name}`)
      return placementStage(scope, options)
    },
  }
}
