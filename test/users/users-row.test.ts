import { randomBytes } from 'node:crypto'
import t from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { LIMITS, openAdmin, rowPlacement } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { openUsersApp } from './users-app.ts'
import { usersSuite } from './users-suite.ts'

const { url } = await testDatabase(t)
const admin = openAdmin(t, url)
const placement = rowPlacement()
await placement.prepare(admin)
const runtime = { user: `lessor_row_${randomBytes(6).toString('hex')}`, password: randomPassword() }
const verifier = scramVerifier(runtime.password)
await placement.provisionRuntime(admin, { role: runtime.user, verifier, limits: LIMITS })
// Roles outlive the database of a test, which is dropped only after this.
t.teardown(() => admin.script(`drop owned by ${runtime.user}; drop role ${runtime.user}`))
const { newTenant } = await openUsersApp(t, url, placement, runtime)

usersSuite(t, async (t) => (await newTenant(t)).call)
