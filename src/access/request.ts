import type {} from 'fastify'
import type { TenantRef } from '../tenants/tenant.ts'
import type { Principal } from './principal.ts'

/** Made is what came to be by a request: ids and names, never a secret. */
export interface Made {
  readonly tenant?: string | undefined
  /** How many, where there are too many to name. */
  readonly tenants?: number
  readonly key?: string | undefined
  readonly namespace?: string | undefined
  readonly server?: string | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set by the guards of access-plugin.ts, null on routes without a guard. */
    principal: Principal | null
    /** The tenant that the request works on; set by the tenant guards, null elsewhere. */
    tenant: TenantRef | null
    /** What an operator's request has made, where its path does not name that; set by the routes, for the log. */
    made: Made | null
  }
}
