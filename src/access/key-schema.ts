import { type Static, Type } from 'typebox'
import { NAME_MAX_LENGTH, NAME_PATTERN, NAMESPACE_PATTERN } from '../tenants/name.ts'
import { KEY_ID } from './api-key.ts'
import type { KeyInfo } from './key-service.ts'

const KeyId = Type.String({ pattern: KEY_ID.source })
const Time = Type.String({ format: 'date-time' })
const Name = Type.String({
  minLength: 1,
  maxLength: NAME_MAX_LENGTH,
  pattern: NAME_PATTERN,
  description: 'What people call the key',
})

export const TenantParams = Type.Object(
  { id: Type.String({ format: 'uuid' }) },
  { additionalProperties: false },
)
export const TenantKeyParams = Type.Object(
  { id: Type.String({ format: 'uuid' }), keyId: KeyId },
  { additionalProperties: false },
)

const NamespaceName = Type.String({ pattern: NAMESPACE_PATTERN })
export const NamespaceParams = Type.Object({ name: NamespaceName }, { additionalProperties: false })
export const NamespaceKeyParams = Type.Object(
  { name: NamespaceName, keyId: KeyId },
  { additionalProperties: false },
)

export const KeyListQuery = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 100, default: 20 }),
    cursor: Type.Optional(Type.String({ maxLength: 200, description: '`next_cursor` of the page before' })),
  },
  { additionalProperties: false },
)

export const NewKeySchema = Type.Object({ name: Type.Optional(Name) }, { additionalProperties: false })

export const IssuedKeySchema = Type.Object({
  id: KeyId,
  key: Type.String({ description: 'The key itself; shown now and never again' }),
  name: Type.Union([Type.String(), Type.Null()]),
  created_at: Time,
})

export const KeySchema = Type.Object({
  id: KeyId,
  name: Type.Union([Type.String(), Type.Null()]),
  created_at: Time,
  revoked_at: Type.Union([Time, Type.Null()]),
})

export const KeyListSchema = Type.Object({
  records: Type.Array(KeySchema),
  next_cursor: Type.Union([Type.String(), Type.Null()]),
})

/** toKeyBody is a key as the API shows it. */
export function toKeyBody(key: KeyInfo): Static<typeof KeySchema> {
  return {
    id: key.id,
    name: key.name,
    created_at: key.createdAt.toISOString(),
    revoked_at: key.revokedAt?.toISOString() ?? null,
  }
}
