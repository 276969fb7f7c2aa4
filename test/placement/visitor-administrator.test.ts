import { randomUUID } from 'node:crypto'
import t from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { dropVisitors, makeVisitor, visitorName } from '../../src/placement/visitor-login.ts'
import { sql } from '../../src/pool/statement.ts'
import { sameRows } from '../support/like.ts'
import { startTestServer } from '../support/server.ts'
import { LIMITS, openAdmin, openSession, ownPlacements, provisionTenant, rolePlacement } from './support.ts'

// A server of this file's own: the first administrator of a server makes its group roles.
const { url: superuserUrl, stop } = await startTestServer()
t.teardown(stop)

t.test('an administrator who is no superuser lets visitors in and out', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  await superuser.script(`create role landlord login createrole createdb password 'landlord'`)
  await superuser.script('create database landlord owner landlord')
  const url = new URL(superuserUrl)
  url.username = 'landlord'
  url.password = 'landlord'
  url.pathname = '/landlord'
  const admin = openAdmin(t, url.href)
  for (const placement of [rolePlacement(), ...ownPlacements()]) {
    await placement.prepare(admin)
    const { id: tenantId } = await provisionTenant(t, placement, admin, { id: randomUUID() })
    const role = visitorName(tenantId)
    const password = randomPassword()
    const validUntil = new Date(Date.now() + 60_000)
    const verifier = scramVerifier(password)
    await makeVisitor(admin, placement, {
      role,
      tenantId,
      verifier,
      limits: LIMITS,
      validUntil,
      writes: true,
    })
    const { parameters, database } = placement.login(tenantId, 'blue')
    const address = new URL(url)
    address.username = role
    address.password = password.reveal()
    if (database !== undefined) address.pathname = `/${database}`
    const session = await openSession(t, address.href, parameters)
    await session.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
    sameRows(
      t,
      await session.query(sql`select tenant_id::text as id from users`),
      [{ id: tenantId }],
      placement.name,
    )
    await dropVisitors(admin, tenantId)
    await session.connection.lost
    sameRows(t, await admin.query(sql`select from pg_roles where rolname = ${role}`), [])
  }
})
