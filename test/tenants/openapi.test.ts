import t from 'tap'
import { testApp } from '../support/app.ts'
import { like } from '../support/like.ts'

interface Operation {
  readonly responses: Readonly<Record<string, unknown>>
  readonly parameters?: readonly { readonly in: string; readonly name: string }[]
  readonly requestBody?: unknown
}

/** What each route may answer, and the parameters that it has: of the path, the query and the headers. */
const ROUTES = {
  'get /v1/tenants': [
    '200 400 401 403 404 503',
    'query namespace, query status, query name, query limit, query cursor',
  ],
  'post /v1/tenants': ['201 400 401 403 404 408 409 413 415 422 503', 'header idempotency-key'],
  'post /v1/tenants:batch': ['201 207 400 401 403 404 408 413 415 422 503', 'header idempotency-key'],
  'get /v1/tenants/{id}': ['200 400 401 403 404 503', 'path id'],
  'patch /v1/tenants/{id}': ['200 400 401 403 404 408 409 413 415 503', 'path id'],
  'delete /v1/tenants/{id}': ['202 400 401 403 404 409 503', 'path id'],
  'post /v1/tenants/{id}/suspend': ['200 400 401 403 404 409 503', 'path id'],
  'post /v1/tenants/{id}/resume': ['200 400 401 403 404 409 503', 'path id'],
  'post /v1/tenants/{id}/unblock': ['200 400 401 403 404 503', 'path id'],
  'post /v1/tenants/{id}/rotate-credential': ['202 400 401 403 404 409 422 503', 'path id'],
  'post /v1/tenants/{id}/promote': ['202 400 401 403 404 408 409 413 415 422 503', 'path id'],
  'post /v1/tenants/{id}/demote': ['202 400 401 403 404 408 409 413 415 422 503', 'path id'],
  'get /v1/namespaces': ['200 400 401 403 503', 'query limit, query cursor'],
  'post /v1/namespaces': ['201 400 401 403 408 409 413 415 503', ''],
  'get /v1/tenants/{id}/keys': ['200 400 401 403 404 503', 'query limit, query cursor, path id'],
  'post /v1/tenants/{id}/keys': ['201 400 401 403 404 408 409 413 415 503', 'path id'],
  'delete /v1/tenants/{id}/keys/{keyId}': ['204 400 401 403 404 503', 'path id, path keyId'],
  'get /v1/namespaces/{name}/keys': ['200 400 401 403 404 503', 'query limit, query cursor, path name'],
  'post /v1/namespaces/{name}/keys': ['201 400 401 403 404 408 413 415 503', 'path name'],
  'delete /v1/namespaces/{name}/keys/{keyId}': ['204 400 401 403 404 503', 'path name, path keyId'],
} as const

t.test('the description of the API says what each route takes and may answer', async (t) => {
  const { app } = await testApp(t)
  const { paths }: { paths: Record<string, Record<string, Operation>> } = (
    await app.inject('/openapi.json')
  ).json()
  const described = Object.entries(paths)
    .filter(([path]) => /^\/v1\/(tenants|namespaces)\b/.test(path))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { parameters = [], requestBody, responses }]) => {
        // All that read a body may find it broken.
        t.equal(requestBody !== undefined, '415' in responses, `${method} ${path} has a body`)
        const taken = parameters.map((each) => `${each.in} ${each.name}`).join(', ')
        return [`${method} ${path}`, [Object.keys(responses).join(' '), taken]] as const
      }),
    )
  t.strictSame(Object.fromEntries(described), ROUTES)
  like(t, paths['/v1/tenants/{id}']?.get?.responses['200'], {
    content: { 'application/json': { schema: { properties: { id: { type: 'string', format: 'uuid' } } } } },
  })
})
