import t from 'tap'
import { OnboardedSchema, type TenantBody, TenantSchema } from '../../src/tenants/tenant-body.ts'
import {
  DemoteSchema,
  NamespaceListQuery,
  NamespaceSchema,
  NewNamespaceSchema,
  NewTenantSchema,
  NewTenantsSchema,
  OnboardHeaders,
  PromoteSchema,
  TenantListQuery,
  TenantParams,
  TenantPatchSchema,
} from '../../src/tenants/tenant-schemas.ts'
import { trySamples, validatorOf } from '../support/schema.ts'

const ID = '5b7c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3'
const LONG = 'x'.repeat(63)
const TOO_LONG = `${LONG}x`
const TIME = '2026-05-04T03:02:01.000Z'
const more = { more: 1 }
const name = 'acme'

/** What is wanted of one tenant or of many. */
const WISHES = {
  good: [
    {},
    { namespace: LONG },
    { placement: 'schema' },
    { server: LONG },
    { server_labels: { [LONG]: LONG } },
    { quota: { connections: 100_000, weight: 100 } },
  ],
  bad: [
    more,
    { namespace: '' },
    { namespace: TOO_LONG },
    { placement: 'cloud' },
    { server: '' },
    { server: TOO_LONG },
    { server_labels: { zone: TOO_LONG } },
    { server_labels: { zone: 1 } },
    { quota: more },
    { quota: { connections: 100_001 } },
    { quota: { connections: 0 } },
    { quota: { weight: 101 } },
    { quota: { weight: 0 } },
  ],
}
const NAMES = { good: ['a', 'x'.repeat(200)], bad: ['', 'x'.repeat(201), 'a\tb', 1, null] }

t.test('what a request may ask of tenants has limits', async (t) => {
  trySamples(t, {
    id: {
      schema: TenantParams,
      part: 'params',
      good: [{ id: ID }, { id: ID.toUpperCase() }],
      bad: [{}, { id: 'x' }, { id: `urn:uuid:${ID}` }, { id: ID.replaceAll('-', '') }, { id: ID, ...more }],
    },
    header: {
      schema: OnboardHeaders,
      part: 'headers',
      good: [{}, { host: 'x' }, { 'idempotency-key': 'x'.repeat(255) }],
      bad: [{ 'idempotency-key': '' }, { 'idempotency-key': 'x'.repeat(256) }],
    },
    tenant: {
      schema: NewTenantSchema,
      part: 'body',
      good: [
        ...NAMES.good.map((each) => ({ name: each })),
        ...WISHES.good.map((each) => ({ name, ...each })),
      ],
      bad: [
        {},
        ...NAMES.bad.map((each) => ({ name: each })),
        ...WISHES.bad.map((each) => ({ name, ...each })),
      ],
    },
    tenants: {
      schema: NewTenantsSchema,
      part: 'body',
      good: [
        ...NAMES.good.map((each) => ({ tenants: [{ name: each }] })),
        ...WISHES.good.map((each) => ({ tenants: [{ name, id: ID }], ...each })),
        { tenants: Array.from({ length: 1000 }, () => ({ name })), api_keys: true },
      ],
      bad: [
        {},
        { tenants: [] },
        { tenants: [{}] },
        { tenants: [{ name, ...more }] },
        { tenants: [{ name, id: 'x' }] },
        { tenants: Array.from({ length: 1001 }, () => ({ name })) },
        { tenants: [{ name }], api_keys: 'yes' },
        ...NAMES.bad.map((each) => ({ tenants: [{ name: each }] })),
        ...WISHES.bad.map((each) => ({ tenants: [{ name }], ...each })),
      ],
    },
    change: {
      schema: TenantPatchSchema,
      part: 'body',
      good: [{ name }, { quota: {} }, { name, quota: { weight: 2 } }],
      bad: [{}, { name, ...more }, { quota: more }, ...NAMES.bad.map((each) => ({ name: each }))],
    },
    promotion: {
      schema: PromoteSchema,
      part: 'body',
      good: [{}, { tablespace: 'x' }, { tablespace: LONG }],
      bad: [more, { tablespace: '' }, { tablespace: TOO_LONG }],
    },
    demotion: {
      schema: DemoteSchema,
      part: 'body',
      good: [{}, { max_rows: 0 }, { max_rows: 1_000_000_000 }],
      bad: [more, { max_rows: -1 }, { max_rows: 1_000_000_001 }, { max_rows: 1.5 }, { max_rows: '1' }],
    },
    namespace: {
      schema: NewNamespaceSchema,
      part: 'body',
      good: [{ name: 'a.b_c-1' }],
      bad: [{}, { name: '' }, { name: 'a b' }, { name: '-a' }, { name: TOO_LONG }, { name, ...more }],
    },
  })
})

t.test('a list has pages of twenty unless another number is asked for', async (t) => {
  const pages = {
    part: 'querystring',
    good: [{ limit: '1' }, { limit: '100' }, { cursor: 'x'.repeat(500) }],
    bad: [{ limit: '0' }, { limit: '101' }, { limit: '1.5' }, { cursor: 'x'.repeat(501) }, more],
  } as const
  trySamples(t, {
    tenants: {
      ...pages,
      schema: TenantListQuery,
      good: [...pages.good, { namespace: LONG, name, status: 'deleted' }],
      bad: [...pages.bad, { namespace: '' }, { namespace: TOO_LONG }, { status: 'dead' }, { name: 'a\tb' }],
    },
    namespaces: { ...pages, schema: NamespaceListQuery },
  })
  for (const schema of [TenantListQuery, NamespaceListQuery]) {
    const query = {}
    t.equal(validatorOf(schema, 'querystring')(query), true)
    t.strictSame(query, { limit: 20 })
  }
})

const TENANT: TenantBody = {
  id: ID,
  name,
  namespace: 'default',
  placement: 'row',
  server: 'default',
  status: 'active',
  quota: { weight: 2 },
  generation: 1,
  colour: 'blue',
  schema_version: null,
  partition: null,
  block: null,
  unsettled_logins: null,
  job: null,
  created_at: TIME,
  updated_at: TIME,
}
const PARTITION = { tablespace: 'fast', promoted_at: TIME }
const BLOCK = { reason: 'locks', blocked_at: TIME }
const UNSETTLED = { wanted: 'open', attempts: 1, error: 'INTERNAL' }
const PROGRESS = { table: 'app.users', rows: 1 }
const JOB = { kind: 'promote', step: 'copy', attempts: 1, error: null, progress: PROGRESS }

t.test('the description of an answer says what a tenant looks like', async (t) => {
  const of = (fields: object) => ({ ...TENANT, ...fields })
  const good = [
    { schema_version: 7 },
    { partition: PARTITION },
    { partition: { ...PARTITION, tablespace: null } },
    { block: BLOCK },
    { unsettled_logins: UNSETTLED },
    { unsettled_logins: { ...UNSETTLED, wanted: 'closed', error: null } },
    { job: JOB },
    { job: { ...JOB, error: 'INTERNAL', progress: null } },
  ]
  const bad = [
    ...['id', 'created_at', 'updated_at'].map((field) => ({ [field]: 'x' })),
    ...['placement', 'status', 'colour', 'quota', 'generation', 'schema_version'].map((field) => ({
      [field]: 'x',
    })),
    ...['name', 'namespace', 'server'].map((field) => ({ [field]: 1 })),
    ...['partition', 'block', 'unsettled_logins', 'job'].map((field) => ({ [field]: {} })),
    ...['tablespace', 'promoted_at'].map((field) => ({ partition: { ...PARTITION, [field]: 1 } })),
    { partition: { ...PARTITION, promoted_at: 'x' } },
    ...['reason', 'blocked_at'].map((field) => ({ block: { ...BLOCK, [field]: 'x' } })),
    ...['wanted', 'attempts'].map((field) => ({ unsettled_logins: { ...UNSETTLED, [field]: 'x' } })),
    { unsettled_logins: { ...UNSETTLED, error: 1 } },
    ...['kind', 'attempts', 'progress'].map((field) => ({ job: { ...JOB, [field]: 'x' } })),
    ...['step', 'error'].map((field) => ({ job: { ...JOB, [field]: 1 } })),
    ...['table', 'rows'].map((field) => ({ job: { ...JOB, progress: { ...PROGRESS, [field]: null } } })),
  ]
  trySamples(t, {
    tenant: { schema: TenantSchema, part: 'body', good: [TENANT, ...good.map(of)], bad: bad.map(of) },
    onboarded: {
      schema: OnboardedSchema,
      part: 'body',
      good: [{ tenant: TENANT, api_key: { id: 'i', key: 'k' } }],
      bad: [
        { tenant: TENANT },
        { tenant: TENANT, api_key: {} },
        { tenant: {}, api_key: { id: 'i', key: 'k' } },
      ],
    },
    namespace: {
      schema: NamespaceSchema,
      part: 'body',
      good: [{ id: ID, name, created_at: TIME }],
      bad: [
        { id: 'x', name, created_at: TIME },
        { id: ID, name: 1, created_at: TIME },
        { id: ID, name, created_at: 'x' },
      ],
    },
  })
  const takes = validatorOf(TenantSchema, 'body')
  for (const field of Object.keys(TENANT)) {
    const { [field]: _, ...rest } = TENANT as Record<string, unknown>
    t.equal(takes(rest), false, `${field} is never left out`)
  }
})

t.test('what can be null in a tenant is described', async (t) => {
  const fields: Record<string, { readonly description?: unknown }> = JSON.parse(
    JSON.stringify(TenantSchema.properties),
  )
  for (const [field, value] of Object.entries(TENANT)) {
    if (value === null) t.match(fields[field]?.description, /\bnull\b/i, `${field} says when it is null`)
  }
})
