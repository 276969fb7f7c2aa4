// What Lessor is measured against: the same routes in a plain Fastify app with one hard-wired pool of
// the driver. No keys, no log, no hooks. Run by stress/bench.ts, which reads its address.

import { fastify } from 'fastify'
import postgres from 'postgres'
import { type Db, Statement } from '../../src/pool/statement.ts'
import { listUsers, updateUser } from '../../src/users/user-store.ts'
import { firstPage } from './first-page.ts'

const JSON_TYPE = 'application/json; charset=utf-8'

interface Settings {
  readonly DATABASE_URL: string
  readonly TENANT_ID: string
  readonly MAX_CONNECTIONS: string
}

const { DATABASE_URL, TENANT_ID, MAX_CONNECTIONS } = process.env as unknown as Settings
const pool = postgres(DATABASE_URL, {
  max: Number(MAX_CONNECTIONS),
  connection: { 'rls.tenant_id': TENANT_ID },
})
const db: Db = {
  query: (statement) => toQuery(statement) as never,
  transaction: () => Promise.reject(new Error('bug: no route has a transaction')),
}

const app = fastify()

const listSchema = {
  querystring: {
    type: 'object',
    properties: { page_size: { type: 'integer', minimum: 1, maximum: 100, default: 10 } },
  },
}

app.get<{ Querystring: { page_size: number } }>(
  '/v1/users',
  { schema: listSchema },
  async (request, reply) => {
    const { page_size: pageSize } = request.query
    const { records, total } = await listUsers(db, TENANT_ID, firstPage(pageSize))
    const pages = Math.ceil(total / pageSize)
    return reply
      .type(JSON_TYPE)
      .send(
        `{"records":[${records}],"page":1,"page_size":${pageSize},"total":${total},"total_pages":${pages}}`,
      )
  },
)

app.patch<{ Params: { id: string }; Body: { confirmed: boolean } }>(
  '/v1/users/:id',
  async (request, reply) => {
    const { confirmed } = request.body
    const change = { firstName: null, lastName: null, confirmed }
    return reply.type(JSON_TYPE).send(await updateUser(db, TENANT_ID, request.params.id, change))
  },
)

console.log(await app.listen({ host: '127.0.0.1', port: 0 }))

process.once('SIGTERM', async () => {
  await app.close()
  await pool.end({ timeout: 5 })
})

/** Fragments are nested as the driver's own documentation nests them. */
function toQuery({ strings, values }: Statement): unknown {
  return pool(
    strings,
    ...(values.map((each) => (each instanceof Statement ? toQuery(each) : each)) as never[]),
  )
}
