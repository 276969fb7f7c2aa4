import t from 'tap'
import { readVersion } from '../../src/version.ts'
import { testApp } from '../support/app.ts'
import { excludes, like } from '../support/like.ts'

interface Operation {
  readonly tags?: readonly string[]
  readonly summary?: string
  readonly security?: readonly Record<string, readonly string[]>[]
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly schema?: { readonly default?: unknown }
  }[]
  readonly requestBody?: {
    readonly required?: boolean
    readonly content: Readonly<Record<string, { readonly schema?: BodySchema }>>
  }
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Readonly<Record<string, unknown>> }>
  >
}

interface Document {
  readonly openapi: string
  readonly info: object
  readonly tags: readonly { readonly name: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

interface BodySchema {
  readonly anyOf?: unknown
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, { readonly default?: unknown }>>
}

const METHODS = ['GET', 'POST', 'PATCH', 'PUT', 'DELETE'] as const

t.test('the OpenAPI document and its page', async (t) => {
  const { app } = await testApp(t)
  const text = (await app.inject('/openapi.json')).body
  const document: Document = JSON.parse(text)
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )

  t.test('it is version 3.1, with title and version', async (t) => {
    t.equal(document.openapi, '3.1.0')
    like(t, document.info, { title: 'Lessor', version: /^\d+\.\d+\.\d+/ })
  })

  t.test('/ says where it is, and where each other thing is', async (t) => {
    const answer = await app.inject('/')
    t.equal(answer.statusCode, 200)
    const { service, version, ...places } = answer.json<Record<string, string>>()
    t.strictSame([service, version], ['Lessor', readVersion()])
    t.strictSame(Object.keys(places), ['docs', 'openapi', 'errors', 'health'])
    for (const place of Object.values(places)) t.equal((await app.inject(place)).statusCode, 200, place)
  })

  t.test('it has every route of the app, and no other', async (t) => {
    const described = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`)
    t.strictSame(described.toSorted(), routesOf(app.printRoutes({ commonPrefix: false })).toSorted())
    for (const { path, method } of operations) {
      // A colon that begins no parameter stands twice in Fastify's own form.
      const url = path.replaceAll(':', '::').replaceAll(/\{(\w+)\}/g, ':$1')
      t.ok(app.hasRoute({ method: method.toUpperCase() as 'GET', url }), `${method} ${path}`)
    }
  })

  t.test('nothing that has a default must be sent, and no body that may be left out', async (t) => {
    let defaults = 0
    for (const { path, method, operation } of operations) {
      for (const { name, required, schema } of operation.parameters ?? []) {
        if (schema?.default === undefined) continue
        defaults += 1
        t.equal(required, false, `${method} ${path}: ${name}`)
      }
      const body = operation.requestBody?.content['application/json']?.schema
      if (body === undefined) continue
      t.equal(body.anyOf, undefined, `${method} ${path}: null is no body`)
      for (const name of body.required ?? []) {
        t.equal(body.properties?.[name]?.default, undefined, `${method} ${path}: ${name}`)
      }
    }
    t.ok(defaults > 10)
    const [promote] = operations.filter(({ path }) => path.endsWith('/promote'))
    t.equal(promote?.operation.requestBody?.required, false)
  })

  t.test('every operation has a summary, a known tag, and describes its answers', async (t) => {
    const tags = document.tags.map(({ name }) => name)
    for (const { path, method, operation } of operations) {
      const name = `${method} ${path}`
      t.ok(operation.summary, name)
      t.ok(operation.tags?.length === 1 && tags.includes(operation.tags[0] ?? ''), `${name} has a tag`)
      const statuses = Object.keys(operation.responses)
      t.ok(
        statuses.some((status) => status.startsWith('2')),
        `${name} says what success is`,
      )
      for (const [status, response] of Object.entries(operation.responses)) {
        t.ok(response.description, `${name} ${status} is described`)
        if (Number(status) >= 400 && path !== '/readyz') {
          t.strictSame(response.content, {
            'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
          })
        }
      }
    }
  })

  t.test('every operation says who may call it', async (t) => {
    for (const { path, method, operation } of operations) {
      const isOpen = ['/livez', '/readyz', '/health_check'].includes(path)
      const isInternal = path.startsWith('/v1/internal/')
      t.strictSame(operation.security, isOpen || isInternal ? [] : [{ bearer: [] }], `${method} ${path}`)
      if (!isOpen && !isInternal) t.ok(operation.responses['401'], `${method} ${path} may answer 401`)
      const header = operation.parameters?.find(({ name }) => name === 'x-tenant-id')
      t.equal(header?.required, isInternal ? true : path.startsWith('/v1/users') ? false : undefined)
    }
  })

  t.test('every parameter of a path is described, and every reference resolves', async (t) => {
    for (const { path, operation } of operations) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
      const described = operation.parameters?.filter((each) => each.in === 'path').map(({ name }) => name)
      t.strictSame(described ?? [], named)
    }
    for (const [, reference = ''] of text.matchAll(/"\$ref":"([^"]+)"/g)) {
      const target = reference
        .slice(2)
        .split('/')
        .reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], document)
      t.ok(target, reference)
    }
  })

  t.test('the page at /docs loads nothing that its policy forbids', async (t) => {
    const page = await app.inject('/docs')
    t.equal(page.statusCode, 200)
    t.match(page.headers['content-type'], /^text\/html/)
    const policy = String(page.headers['content-security-policy'])
    t.match(policy, /default-src 'self'/)
    excludes(t, policy, /upgrade-insecure-requests/)
    excludes(t, page.body, /<script(?![^>]*\ssrc=)[^>]*>/, 'no inline script')
    const sources = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '')
    t.ok(sources.length >= 5)
    for (const source of sources) {
      t.match(source, /^\/docs\//)
      t.equal((await app.inject(source)).statusCode, 200, source)
    }
    t.equal((await app.inject('/docs/json')).statusCode, 200)
    t.equal(page.headers['x-frame-options'], 'SAMEORIGIN')
  })

  t.test('the page of errors has the anchor that the type of a problem names', async (t) => {
    const { type } = (await app.inject('/nowhere')).json()
    const [path, anchor] = type.split('#')
    const page = await app.inject(path)
    t.equal(page.statusCode, 200)
    t.ok(page.body.includes(`id="${anchor}"`))
  })
})

/** routesOf reads the tree that printRoutes draws; without HEAD, /, /docs and /openapi.json. */
function routesOf(tree: string): string[] {
  const parents: string[] = []
  const routes: string[] = []
  for (const line of tree.split('\n')) {
    const [, indent = '', part = '', methods = ''] = /^([│├└─\s]*)(\S+) \((.+)\)/u.exec(line) ?? []
    if (part === '') continue
    const depth = indent.length / 4
    parents.length = depth - 1
    const path = parents.join('') + part
    parents.push(path.slice(parents.join('').length))
    const url = path.length > 1 ? path.replace(/\/$/, '') : path
    if (url === '/' || /^\/(docs|openapi\.json)/.test(url)) continue
    for (const method of METHODS) {
      if (methods.split(', ').includes(method)) {
        routes.push(`${method} ${url.replaceAll(/\/:(\w+)/g, '/{$1}')}`)
      }
    }
  }
  return [...new Set(routes)]
}
