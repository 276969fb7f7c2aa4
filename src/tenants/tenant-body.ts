import { type Static, Type } from 'typebox'
import { JOB_KINDS } from './job.ts'
import { MAX_WEIGHT } from './quota.ts'
import { COLOURS, OFFENCES, PLACEMENTS, TENANT_STATUSES, type Tenant } from './tenant.ts'

const Time = Type.String({ format: 'date-time' })

export const QuotaSchema = Type.Object(
  {
    connections: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 100_000, description: 'Database connections in one process' }),
    ),
    weight: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_WEIGHT,
        description: 'Its part where connections are short, against 1 of a tenant without a weight',
      }),
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
  generation: Type.Integer({ description: 'Goes up whenever older pools must drain' }),
  colour: Type.Enum(COLOURS, { description: 'The one of its two logins that is in use; rotation flips it' }),
  schema_version: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Number of the last migration in its own tables; null where its tables are shared',
  }),
  partition: Type.Union(
    [Type.Object({ tablespace: Type.Union([Type.String(), Type.Null()]), promoted_at: Time }), Type.Null()],
    { description: "Its own partitions of the shared tables; null where its rows are with everybody else's" },
  ),
  block: Type.Union([Type.Object({ reason: Type.Enum(OFFENCES), blocked_at: Time }), Type.Null()], {
    description: 'Why its login is blocked by the watchdog of its data server; null while it is not',
  }),
  unsettled_logins: Type.Union(
    [
      Type.Object({
        wanted: Type.Enum(['open', 'closed'], { description: 'What its status wants of its logins' }),
        attempts: Type.Integer(),
        error: Type.Union([Type.String(), Type.Null()], {
          description: "Code of the last attempt's failure",
        }),
      }),
      Type.Null(),
    ],
    {
      description:
        'Not null while its logins on the data server may not yet be closed, or open, as its status says; it is tried again by itself',
    },
  ),
  job: Type.Union(
    [
      Type.Object({
        kind: Type.Enum(JOB_KINDS),
        step: Type.String(),
        attempts: Type.Integer(),
        error: Type.Union([Type.String(), Type.Null()], {
          description: "Code of the last attempt's failure",
        }),
        progress: Type.Union([Type.Object({ table: Type.String(), rows: Type.Integer() }), Type.Null()], {
          description: 'Of a promotion or demotion: the table that it is at, and the rows copied so far',
        }),
      }),
      Type.Null(),
    ],
    { description: 'What is being done with it; null most of the time' },
  ),
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
    generation: tenant.generation,
    colour: tenant.colour,
    schema_version: tenant.schemaVersion,
    partition: tenant.partition && {
      tablespace: tenant.partition.tablespace,
      promoted_at: tenant.partition.promotedAt,
    },
    block: tenant.block && { reason: tenant.block.reason, blocked_at: tenant.block.blockedAt },
    unsettled_logins: tenant.unsettledLogins && { ...tenant.unsettledLogins },
    job: tenant.job && { ...tenant.job },
    created_at: tenant.createdAt.toISOString(),
    updated_at: tenant.updatedAt.toISOString(),
  }
}
