import t from 'tap'
import { ownPlacement } from '../placement/own-support.ts'
import { openAdmin } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { openUsersApp } from './users-app.ts'
import { usersSuite } from './users-suite.ts'

const { url } = await testDatabase(t)
const placement = ownPlacement('schema')
await placement.prepare(openAdmin(t, url))
const { newTenant } = await openUsersApp(t, url, placement)

usersSuite(t, async (t) => (await newTenant(t)).call)
