import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { isLessorError, LessorError } from '../errors.ts'
import { parseTenantId, type TenantRef } from '../tenants/tenant.ts'
import { assertUsable } from '../tenants/tenant-status.ts'
import type { Principal } from './principal.ts'

/** TokenAuthenticator is what the guards need of the Authenticator. */
export interface TokenAuthenticator {
  /**
   * authenticate finds the principal of a key that a caller at this address sent.
   * @throws LessorError UNAUTHENTICATED, AUTHENTICATION_BUSY; at once or as a rejection
   */
  authenticate(token: string, address?: string): Principal | Promise<Principal>
}

/** TenantLookup is what the guards need of the tenant directory. */
export interface TenantLookup {
  /** peek returns a tenant that is known and fresh, without waiting. */
  peek(tenantId: string): TenantRef | undefined
  /** resolve finds a tenant wherever it is known; undefined when there is none. */
  resolve(tenantId: string): Promise<TenantRef | undefined>
}

/** NetworkList is what the guards need of TrustedNetworks. */
export interface NetworkList {
  includes(address: string): boolean
}

export interface GuardOptions {
  readonly authenticator: TokenAuthenticator
  readonly directory: TenantLookup
  readonly trustedNetworks: NetworkList
}

/** Guards are the `onRequest` hooks that let a request into a route, or answer 401 or 403. */
export interface Guards {
  /** For the control plane: the operator key. */
  readonly operator: onRequestHookHandler
  /** For anyone with a valid key. */
  readonly principal: onRequestHookHandler
  /** For the data plane: an API key and, where it may use several tenants, `x-tenant-id`. */
  readonly tenant: onRequestHookHandler
  /** For callers on a trusted network: `x-tenant-id` alone. */
  readonly network: onRequestHookHandler
}

// RFC 6750, section 2.1, but any visible character, since operators choose their own key.
const BEARER = /^bearer +([!-~]+)$/i
const TENANT_HEADER = 'x-tenant-id'
// RFC 6750, section 3: at least one parameter; `error` only when a key was sent.
const CHALLENGE = 'Bearer realm="lessor"'
const CHALLENGE_INVALID = `${CHALLENGE}, error="invalid_token"`

/**
 * makeGuards makes the hooks. They take a callback and not a promise, so that a request whose key and
 * tenant are both at hand passes without waiting for a single tick.
 */
export function makeGuards({ authenticator, directory, trustedNetworks }: GuardOptions): Guards {
  function authenticate(request: FastifyRequest, reply: FastifyReply): Principal | Promise<Principal> {
    const [, token] = BEARER.exec(request.headers.authorization ?? '') ?? []
    if (token === undefined) {
      reply.header('www-authenticate', CHALLENGE)
      throw new LessorError('UNAUTHENTICATED', 'The request needs the header Authorization: Bearer <key>.')
    }
    try {
      const principal = authenticator.authenticate(token, request.ip)
      return principal instanceof Promise ? principal.catch((error) => challenge(reply, error)) : principal
    } catch (error) {
      return challenge(reply, error)
    }
  }

  function findTenant(tenantId: string): TenantRef | undefined | Promise<TenantRef | undefined> {
    return directory.peek(tenantId) ?? directory.resolve(tenantId)
  }

  function admitOperator(request: FastifyRequest, principal: Principal): void {
    request.principal = principal
    if (principal.kind !== 'operator') {
      throw new LessorError('FORBIDDEN', 'This route is for operators.')
    }
  }

  function admitKey(request: FastifyRequest, principal: Principal): void | Promise<void> {
    request.principal = principal
    if (principal.kind !== 'api_key') {
      throw new LessorError('FORBIDDEN', "This route takes a tenant's API key, not the operator key.")
    }
    const { namespaceId, tenantId: own } = principal
    const tenantId = namedTenant(request) ?? own
    if (tenantId === null) throw new LessorError('TENANT_REQUIRED')
    if (own !== null && tenantId !== own) throw new LessorError('TENANT_FORBIDDEN')
    return chain(findTenant(tenantId), (tenant) => {
      // An unknown tenant is answered like a stranger's, so that nobody learns which ids exist.
      if (tenant?.namespaceId !== namespaceId) throw new LessorError('TENANT_FORBIDDEN')
      enter(request, tenant)
    })
  }

  function admitPeer(request: FastifyRequest): void | Promise<void> {
    // Fastify takes it from the socket, and from X-Forwarded-For only behind a configured proxy.
    const address = request.ip
    // A socket that is gone has no address, nor has one in the file system.
    if (address === undefined || !trustedNetworks.includes(address)) {
      throw new LessorError('FORBIDDEN', 'This route is for callers on a trusted network.')
    }
    request.principal = { kind: 'network', address }
    const tenantId = namedTenant(request)
    if (tenantId === undefined) throw new LessorError('TENANT_REQUIRED')
    return chain(findTenant(tenantId), (tenant) => {
      if (tenant === undefined) throw new LessorError('TENANT_NOT_FOUND')
      enter(request, tenant)
    })
  }

  return {
    operator: (request, reply, done) =>
      finish(
        chain(authenticate(request, reply), (principal) => admitOperator(request, principal)),
        done,
      ),
    principal: (request, reply, done) =>
      finish(
        chain(authenticate(request, reply), (principal) => {
          request.principal = principal
        }),
        done,
      ),
    tenant: (request, reply, done) =>
      finish(
        chain(authenticate(request, reply), (principal) => admitKey(request, principal)),
        done,
      ),
    network: (request, _reply, done) => finish(admitPeer(request), done),
  }
}

/** The tenant that the request names; undefined when it names none. Node joins repeated headers with a comma. */
function namedTenant(request: FastifyRequest): string | undefined {
  const header = request.headers[TENANT_HEADER]
  if (header === undefined) return undefined
  const tenantId = typeof header === 'string' ? parseTenantId(header) : undefined
  if (tenantId !== undefined) return tenantId
  const message = 'must be one UUID'
  throw new LessorError('INVALID_REQUEST', `The header ${TENANT_HEADER} ${message}.`, {
    errors: [{ in: 'headers', path: TENANT_HEADER, message }],
  })
}

function enter(request: FastifyRequest, tenant: TenantRef): void {
  assertUsable(tenant)
  request.tenant = tenant
}

function challenge(reply: FastifyReply, error: unknown): never {
  if (isLessorError(error, 'UNAUTHENTICATED')) reply.header('www-authenticate', CHALLENGE_INVALID)
  throw error
}

/** Goes on with `next` now when the value is at hand, else when it is. */
function chain<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}

/** Ends a hook; what is thrown before that goes to Fastify by itself. */
function finish(passed: void | Promise<void>, done: (error?: Error) => void): void {
  if (passed instanceof Promise) {
    // Fastify lets a request pass whose hook fails with nothing.
    const failed = (error: unknown) => done(error instanceof Error ? error : new Error('bug: no error'))
    passed.then(() => done(), failed)
  } else {
    done()
  }
}
