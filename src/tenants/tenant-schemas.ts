import { Type } from 'typebox'
import { MAX_BATCH, MAX_BATCH_KEYS } from './batch.ts'
import { IDEMPOTENCY_KEY_PATTERN } from './idempotency.ts'
import { NAME_MAX_LENGTH, NAME_PATTERN, NAMESPACE_PATTERN } from './name.ts'
import { DEMOTION_MAX_ROWS } from './promotion.ts'
import { PLACEMENTS, TENANT_STATUSES } from './tenant.ts'
import { QuotaSchema, TenantSchema } from './tenant-body.ts'

const CLOSED = { additionalProperties: false } as const

/** Not `format: uuid`, which lets a URN pass as well. */
const UUID_PATTERN = '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'

const TenantName = Type.String({
  minLength: 1,
  maxLength: NAME_MAX_LENGTH,
  pattern: NAME_PATTERN,
  description: 'Unique in its namespace, whatever its case; without control characters',
})
const NamespaceName = Type.String({ minLength: 1, maxLength: 63 })
const PinnedServer = Type.String({
  minLength: 1,
  maxLength: 63,
  description: 'The data server; without it the least loaded one that carries the placement',
})
const ServerLabels = Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 63 }), {
  description: 'Labels that the data server must have',
})

export const Limit = Type.Integer({ minimum: 1, maximum: 100, default: 20 })
export const Cursor = Type.String({ maxLength: 500, description: '`next_cursor` of the page before' })
export const NextCursor = Type.Union([Type.String(), Type.Null()], {
  description: 'Null on the last page',
})

export const TenantParams = Type.Object({ id: Type.String({ pattern: UUID_PATTERN }) }, CLOSED)

export const OnboardHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: IDEMPOTENCY_KEY_PATTERN,
      description: 'A repeated request with the same key gets the same answer, for a day',
    }),
  ),
})

export const NewTenantSchema = Type.Object(
  {
    name: TenantName,
    namespace: Type.Optional(NamespaceName),
    placement: Type.Optional(Type.Enum(PLACEMENTS)),
    server: Type.Optional(PinnedServer),
    server_labels: Type.Optional(ServerLabels),
    quota: Type.Optional(QuotaSchema),
  },
  CLOSED,
)

export const NewTenantsSchema = Type.Object(
  {
    tenants: Type.Array(
      Type.Object(
        {
          name: TenantName,
          id: Type.Optional(
            Type.String({
              pattern: UUID_PATTERN,
              description: 'One that no tenant has or had; else one is made',
            }),
          ),
        },
        CLOSED,
      ),
      { minItems: 1, maxItems: MAX_BATCH },
    ),
    namespace: Type.Optional(NamespaceName),
    placement: Type.Optional(
      Type.Enum(PLACEMENTS, { description: '`row`, the default; tenants of others are made one by one' }),
    ),
    server: Type.Optional(PinnedServer),
    server_labels: Type.Optional(ServerLabels),
    quota: Type.Optional(QuotaSchema),
    api_keys: Type.Optional(
      Type.Boolean({
        description: `A key for each, for ${MAX_BATCH_KEYS} tenants at most; without it a key of the namespace opens them all`,
      }),
    ),
  },
  CLOSED,
)

export const TenantPatchSchema = Type.Object(
  { name: Type.Optional(TenantName), quota: Type.Optional(QuotaSchema) },
  { ...CLOSED, minProperties: 1 },
)

export const PromoteSchema = Type.Object(
  {
    tablespace: Type.Optional(
      Type.String({ minLength: 1, maxLength: 63, description: 'Where the partitions are to lie' }),
    ),
  },
  CLOSED,
)

export const DemoteSchema = Type.Object(
  {
    max_rows: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 1_000_000_000,
        description:
          `Most rows of one table that are put back, ${DEMOTION_MAX_ROWS} by default; ` +
          'it stands still for all tenants meanwhile',
      }),
    ),
  },
  CLOSED,
)

export const TenantListQuery = Type.Object(
  {
    namespace: Type.Optional(NamespaceName),
    status: Type.Optional(Type.Enum(TENANT_STATUSES)),
    name: Type.Optional(TenantName),
    limit: Limit,
    cursor: Type.Optional(Cursor),
  },
  CLOSED,
)

export const TenantListSchema = Type.Object({ records: Type.Array(TenantSchema), next_cursor: NextCursor })

export const NewNamespaceSchema = Type.Object(
  {
    name: Type.String({
      pattern: NAMESPACE_PATTERN,
      description: 'Unique whatever its case; letters, digits, ".", "_" and "-"',
    }),
  },
  CLOSED,
)

export const NamespaceSchema = Type.Object({
  id: Type.String({ format: 'uuid' }),
  name: Type.String(),
  created_at: Type.String({ format: 'date-time' }),
})

export const NamespaceListQuery = Type.Object({ limit: Limit, cursor: Type.Optional(Cursor) }, CLOSED)

export const NamespaceListSchema = Type.Object({
  records: Type.Array(NamespaceSchema),
  next_cursor: NextCursor,
})
