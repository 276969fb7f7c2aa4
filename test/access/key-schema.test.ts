import t from 'tap'
import {
  IssuedKeySchema,
  KeyListQuery,
  KeySchema,
  NamespaceKeyParams,
  NamespaceParams,
  NewKeySchema,
  TenantKeyParams,
  TenantParams,
} from '../../src/access/key-schema.ts'
import { trySamples, validatorOf } from '../support/schema.ts'

const ID = '5b7c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3'
const KEY = '0123456789abcdef'
const TIME = '2026-05-04T03:02:01.000Z'
const more = { more: 1 }

t.test('what a request may say of keys has limits', async (t) => {
  const keyIds = ['x', KEY.slice(1), `${KEY}0`, KEY.toUpperCase()]
  trySamples(t, {
    tenant: {
      schema: TenantParams,
      part: 'params',
      good: [{ id: ID }],
      bad: [{}, { id: 'x' }, { id: ID, ...more }],
    },
    'key of a tenant': {
      schema: TenantKeyParams,
      part: 'params',
      good: [{ id: ID, keyId: KEY }],
      bad: [
        { id: ID },
        { id: 'x', keyId: KEY },
        { id: ID, keyId: KEY, ...more },
        ...keyIds.map((keyId) => ({ id: ID, keyId })),
      ],
    },
    namespace: {
      schema: NamespaceParams,
      part: 'params',
      good: [{ name: 'a.b_c-1' }],
      bad: [{}, { name: 'a b' }, { name: 'a', ...more }],
    },
    'key of a namespace': {
      schema: NamespaceKeyParams,
      part: 'params',
      good: [{ name: 'a', keyId: KEY }],
      bad: [
        { name: 'a' },
        { name: 'a b', keyId: KEY },
        { name: 'a', keyId: KEY, ...more },
        ...keyIds.map((keyId) => ({ name: 'a', keyId })),
      ],
    },
    list: {
      schema: KeyListQuery,
      part: 'querystring',
      good: [{ limit: '1' }, { limit: '100' }, { cursor: 'x'.repeat(200) }],
      bad: [{ limit: '0' }, { limit: '101' }, { limit: '1.5' }, { cursor: 'x'.repeat(201) }, more],
    },
    'new key': {
      schema: NewKeySchema,
      part: 'body',
      good: [{}, { name: 'a' }, { name: 'x'.repeat(200) }],
      bad: [more, { name: '' }, { name: 'x'.repeat(201) }, { name: 'a\tb' }, { name: null }],
    },
  })
  const query = {}
  t.equal(validatorOf(KeyListQuery, 'querystring')(query), true)
  t.strictSame(query, { limit: 20 })
})

t.test('the description of an answer says what a key looks like', async (t) => {
  const [key, issued] = [
    { id: KEY, name: 'a', created_at: TIME, revoked_at: null },
    { id: KEY, name: 'a', created_at: TIME, key: 'k' },
  ]
  const wrong = [{ id: 'x' }, { name: 1 }, { created_at: 'x' }]
  const without = (field: string, of: object) =>
    Object.fromEntries(Object.entries(of).filter(([k]) => k !== field))
  trySamples(t, {
    key: {
      schema: KeySchema,
      part: 'body',
      good: [key, { ...key, name: null, revoked_at: TIME }],
      bad: [
        ...[...wrong, { revoked_at: 'x' }].map((each) => ({ ...key, ...each })),
        ...Object.keys(key).map((field) => without(field, key)),
      ],
    },
    'issued key': {
      schema: IssuedKeySchema,
      part: 'body',
      good: [issued, { ...issued, name: null }],
      bad: [
        ...[...wrong, { key: 1 }].map((each) => ({ ...issued, ...each })),
        ...Object.keys(issued).map((field) => without(field, issued)),
      ],
    },
  })
})
