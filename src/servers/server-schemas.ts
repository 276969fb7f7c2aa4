import { type Static, Type } from 'typebox'
import { TLS_MODES } from '../pool/contract.ts'
import { PLACEMENTS } from '../tenants/tenant.ts'
import { ENGINES } from './capabilities.ts'
import { SERVER_NAME_PATTERN } from './data-server.ts'
import type { ServerView } from './data-servers.ts'

const CLOSED = { additionalProperties: false } as const
const MAX_LABELS = 32
const Time = Type.String({ format: 'date-time' })
const Placement = Type.Enum(PLACEMENTS)
const Tls = Type.Enum(TLS_MODES)
const Name = Type.String({ pattern: SERVER_NAME_PATTERN })
const LabelsSchema = Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 63 }), {
  maxProperties: MAX_LABELS,
  description: 'What tenants may ask for by `server_labels`, e.g. `{"region": "eu"}`',
})
const MaxConnections = Type.Union([Type.Integer({ minimum: 1, maximum: 100_000 }), Type.Null()], {
  description: 'Connections of tenants over all nodes; null stands for SERVER_MAX_CONNECTIONS',
})
const Url = Type.String({
  minLength: 1,
  maxLength: 2_000,
  description:
    "postgres://user:password@host:port/database with an administrator's login, several hosts with commas in " +
    'between; the password is sealed and never shown',
})

/** Fits into a body of 16 kB with the rest. */
const MAX_CERTIFICATES = 12_000
const GivenCertificates = Type.String({
  minLength: 1,
  maxLength: MAX_CERTIFICATES,
  description: "Certificates in PEM that the server's is checked against; instead of the URL's sslrootcert",
})
const HostAddress = Type.Object({ host: Type.String(), port: Type.Integer() })

export const ServerParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 63 }) }, CLOSED)

export const NewServerSchema = Type.Object(
  {
    name: Name,
    url: Url,
    tls: Type.Optional(Tls),
    root_certificates: Type.Optional(GivenCertificates),
    labels: Type.Optional(LabelsSchema),
    max_connections: Type.Optional(MaxConnections),
  },
  CLOSED,
)

export const ServerPatchSchema = Type.Object(
  {
    url: Type.Optional(Url),
    tls: Type.Optional(Tls),
    root_certificates: Type.Optional(Type.Union([GivenCertificates, Type.Null()])),
    labels: Type.Optional(LabelsSchema),
    max_connections: Type.Optional(MaxConnections),
  },
  { ...CLOSED, minProperties: 1 },
)

export const CapabilitiesSchema = Type.Object({
  version: Type.String({ description: 'As the server says; nothing is decided by it' }),
  engine: Type.Enum(ENGINES),
  placements: Type.Array(Placement, { description: 'The placements that it carries' }),
  partitions: Type.Boolean(),
  tablespaces: Type.Array(Type.String()),
  notify: Type.Boolean(),
  advisory_locks: Type.Boolean(),
  create_database: Type.Boolean(),
  create_role: Type.Boolean(),
  problems: Type.Array(Type.Object({ placement: Placement, reason: Type.String() }), {
    description: 'Why it does not carry the other placements',
  }),
  notes: Type.Array(Type.String()),
})

export const ServerSchema = Type.Object({
  name: Type.String(),
  host: Type.String(),
  port: Type.Integer(),
  database: Type.String(),
  alternates: Type.Array(HostAddress, {
    description: 'Further hosts that it may be at, as after a failover',
  }),
  tls: Tls,
  root_certificates: Type.Union([Type.String(), Type.Null()], {
    description:
      "Certificates in PEM that the server's is checked against, or `system`; null stands for Node's own list",
  }),
  labels: Type.Record(Type.String(), Type.String()),
  max_connections: MaxConnections,
  budget: Type.Integer({ description: 'Connections of tenants over all nodes, as they are in force' }),
  tenants: Type.Integer({ description: 'Tenants that live there' }),
  reachable: Type.Boolean({ description: 'Whether it has answered this node just now' }),
  capabilities: Type.Union([CapabilitiesSchema, Type.Null()], {
    description: 'What it can do, found out by trying; null until it could be tried',
  }),
  probed_at: Type.Union([Time, Type.Null()]),
  created_at: Time,
  updated_at: Time,
})
export type ServerBody = Static<typeof ServerSchema>

export const ServerListSchema = Type.Object({ records: Type.Array(ServerSchema), next_cursor: Type.Null() })

/** toServerBody is a data server as the API shows it. */
export function toServerBody(server: ServerView, reachable: boolean): ServerBody {
  const {
    name,
    host,
    port,
    alternates = [],
    database,
    tls,
    rootCertificates,
    labels,
    budget,
    tenants,
    capabilities,
  } = server
  return {
    name,
    host,
    port,
    database,
    alternates: alternates.map((each) => ({ ...each })),
    tls,
    root_certificates: rootCertificates?.text ?? null,
    labels: { ...labels },
    max_connections: server.maxConnections,
    budget,
    tenants,
    reachable,
    capabilities: capabilities && {
      ...capabilities,
      placements: [...capabilities.placements],
      tablespaces: [...capabilities.tablespaces],
      problems: capabilities.problems.map((each) => ({ ...each })),
      notes: [...capabilities.notes],
    },
    probed_at: server.probedAt?.toISOString() ?? null,
    created_at: server.createdAt.toISOString(),
    updated_at: server.updatedAt.toISOString(),
  }
}
