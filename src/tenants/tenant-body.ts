import { type Static, Type } from 'typebox'
import { PLACEMENTS, TENANT_STATUSES, type Tenant } from './tenant.ts'

const Time = Type.String({ format: 'date-time' })

export const QuotaSchema = Type.Object(
  {
    connections: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 100_000, description: 'Database connections in one process' }),
    ),
  },
  { additionalProperties: false },
)

export const TenantSchema = Type.Object({
  id: Type.String({ format: 'uuid' }),
  name: Type.String(),
  namespace: Type.String(),
  placement: Type.Enum(PLACEMENTS),
  server: Type.String(),
  status: Type.Enum(TENANT_STATUSES),
  quota: QuotaSchema,
  created_at: Time,
  updated_at: Time,
})
export type TenantBody = Static<typeof TenantSchema>

export const OnboardedSchema = Type.Object({
  tenant: TenantSchema,
  api_key: Type.Object({
    id: Type.String(),
    key: Type.String({ description: 'Opens this tenant; shown now and never again' }),
  }),
})
export type OnboardedBody = Static<typeof OnboardedSchema>

/** toTenantBody is a tenant as the API shows it. */
export function toTenantBody(tenant: Tenant): TenantBody {
  return {
    id: tenant.id,
    name: tenant.name,
    namespace: tenant.namespace,
    placement: tenant.placement,
    server: tenant.server,
    status: tenant.status,
    quota: { ...tenant.quota },
    created_at: tenant.createdAt.toISOString(),
    updated_at: tenant.updatedAt.toISOString(),
  }
}
