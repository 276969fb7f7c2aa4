import t from 'tap'
import { testApp } from '../support/app.ts'

const { app, onboard, operator } = await testApp(t, { TRUSTED_NETWORKS: '127.0.0.1' })
const tenant = await onboard()
const internal: typeof operator = (options) =>
  app.inject({ ...options, headers: { ...options.headers, 'x-tenant-id': tenant.id } })

interface Operation {
  readonly requestBody?: { readonly required?: boolean }
}

t.test('JSON is announced and nothing is sent: that is no body where none is needed', async (t) => {
  const { paths } = (await operator({ url: '/openapi.json' })).json<{
    paths: Record<string, Record<string, Operation>>
  }>()
  const outcomes: string[] = []
  for (const [path, operations] of Object.entries(paths)) {
    for (const [name, { requestBody }] of Object.entries(operations)) {
      const method = name.toUpperCase()
      if (method === 'GET') continue
      const url = path.replaceAll(/\{\w+\}/g, '00000000-0000-4000-8000-000000000000')
      const headers = { 'content-type': 'application/json', 'content-length': '0' }
      const inject = path.startsWith('/v1/users')
        ? tenant.inject
        : path.startsWith('/v1/internal')
          ? internal
          : operator
      const answer = await inject({ method: method as 'POST', url, headers })
      const code = answer.body === '' ? undefined : answer.json<{ code?: string }>().code
      const isNeeded = requestBody?.required === true
      t.equal(code === 'INVALID_JSON', isNeeded, `${method} ${path}: ${answer.statusCode} ${code}`)
      outcomes.push(isNeeded ? 'refused' : 'taken')
    }
  }
  for (const outcome of ['refused', 'taken']) t.ok(outcomes.filter((each) => each === outcome).length > 5)
})
