import type {} from 'fastify'
import type { TenantRef } from '../tenants/tenant.ts'
import type { Principal } from './principal.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set by the guards of access-plugin.ts, null on routes without a guard. */
    principal: Principal | null
    /** The tenant that the request works on; set by the tenant guards, null elsewhere. */
    tenant: TenantRef | null
  }
}
