import t from 'tap'
import { makeApiKey } from '../../src/access/api-key.ts'
import { argon2idHasher } from '../../src/access/secret-hasher.ts'
import { sql } from '../../src/pool/statement.ts'
import { testApp } from '../support/app.ts'

t.test(
  'a key of the version before opens its tenant, and is stored as new ones are from then on',
  async (t) => {
    const { app, lessor, onboard } = await testApp(t)
    const tenant = await onboard()
    const old = makeApiKey()
    await lessor.control.query(sql`
    insert into lessor.api_keys (id, namespace_id, tenant_id, hash)
    select ${old.keyId}, namespace_id, id, ${await argon2idHasher.hash(old)} from lessor.tenants where id = ${tenant.id}`)
    const authorization = `Bearer lsr_${old.keyId}_${old.secret.reveal()}`
    const ask = () => app.inject({ url: '/v1/users', headers: { authorization, 'x-tenant-id': tenant.id } })
    t.equal((await ask()).statusCode, 200)
    const schemes = async () => {
      const rows = await lessor.control.query<{ scheme: string }>(sql`
      select split_part(hash, '$', 1) as scheme from lessor.api_keys where tenant_id = ${tenant.id}`)
      return rows.map(({ scheme }) => scheme)
    }
    while ((await schemes()).includes('')) await new Promise((resolve) => setTimeout(resolve, 5))
    t.strictSame(await schemes(), ['hmac-sha-256', 'hmac-sha-256'])
    lessor.authenticator.forgetAll()
    t.equal((await ask()).statusCode, 200)
  },
)
