import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { preValidationHookHandler } from 'fastify'
import { type Static, Type } from 'typebox'
import type { ControlDb } from '../control/control-database.ts'
import { LessorError } from '../errors.ts'
import { BODY_ERRORS, problemResponses } from '../http/problem-schema.ts'
import type { Tenant } from '../tenants/tenant.ts'
import { assertActive } from '../tenants/tenant-status.ts'
import {
  IssuedKeySchema,
  KeyListQuery,
  KeyListSchema,
  NamespaceKeyParams,
  NamespaceParams,
  NewKeySchema,
  TenantKeyParams,
  TenantParams,
  toKeyBody,
} from './key-schema.ts'
import type { KeyOwner, KeyService } from './key-service.ts'

export interface KeyRoutesOptions {
  /** The control database. */
  readonly db: ControlDb
  readonly keys: KeyService
  /** Told of every revocation, so that it counts in this process at once. */
  readonly authenticator: { forget(keyId: string): void }
  findTenant(id: string): Promise<Tenant | undefined>
  findNamespace(name: string): Promise<{ readonly id: string } | undefined>
}

const TAGS = ['Keys']
const COMMON = ['INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN', 'CONTROL_UNAVAILABLE'] as const

function ownerOf(tenant: Tenant): KeyOwner {
  return { namespaceId: tenant.namespaceId, tenantId: tenant.id }
}

/** A new key needs no name, and so no body. */
const allowNoBody: preValidationHookHandler = (request, _reply, done) => {
  if (request.body === undefined) request.body = {}
  done()
}

/**
 * keyRoutes is where operators issue, list and revoke API keys: a tenant's keys open that tenant, a
 * namespace's keys open every tenant in it. It brings the
 * operator guard itself, and expects accessPlugin.
 */
export const keyRoutes: FastifyPluginAsyncTypebox<KeyRoutesOptions> = async (fastify, options) => {
  const { db, keys, authenticator } = options
  fastify.addHook('onRequest', fastify.guards.operator)

  async function findTenant(id: string): Promise<Tenant> {
    const tenant = await options.findTenant(id)
    if (tenant === undefined || tenant.status === 'deleted') throw new LessorError('TENANT_NOT_FOUND')
    return tenant
  }

  async function tenantOwner(id: string): Promise<KeyOwner> {
    return ownerOf(await findTenant(id))
  }

  async function namespaceOwner(name: string): Promise<KeyOwner> {
    const namespace = await options.findNamespace(name)
    if (namespace === undefined) throw new LessorError('NAMESPACE_NOT_FOUND')
    return { namespaceId: namespace.id, tenantId: null }
  }

  async function list(owner: KeyOwner, query: Static<typeof KeyListQuery>) {
    const page = await keys.list(db, owner, query)
    return { records: page.records.map(toKeyBody), next_cursor: page.nextCursor }
  }

  async function issue(owner: KeyOwner, body: Static<typeof NewKeySchema>) {
    const { namespaceId, tenantId } = owner
    const issued = await keys.issue(db, { namespaceId, tenantId, ...body })
    return {
      id: issued.id,
      key: issued.key.reveal(),
      name: issued.name,
      created_at: issued.createdAt.toISOString(),
    }
  }

  async function revoke(owner: KeyOwner, keyId: string): Promise<void> {
    try {
      if (!(await keys.revoke(db, owner, keyId))) throw new LessorError('KEY_NOT_FOUND')
    } finally {
      // Also when the answer was lost: the revocation may be committed.
      authenticator.forget(keyId)
    }
  }

  fastify.get(
    '/v1/tenants/:id/keys',
    {
      schema: {
        tags: TAGS,
        summary: "List a tenant's API keys, newest first",
        params: TenantParams,
        querystring: KeyListQuery,
        response: {
          200: KeyListSchema,
          ...problemResponses(...COMMON, 'TENANT_NOT_FOUND'),
        },
      },
    },
    async (request) => list(await tenantOwner(request.params.id), request.query),
  )

  fastify.post(
    '/v1/tenants/:id/keys',
    {
      preValidation: allowNoBody,
      schema: {
        tags: TAGS,
        summary: 'Issue an API key that opens this tenant',
        params: TenantParams,
        body: NewKeySchema,
        response: {
          201: IssuedKeySchema,
          ...problemResponses(
            ...COMMON,
            ...BODY_ERRORS,
            'TENANT_NOT_FOUND',
            'TENANT_NOT_ACTIVE',
            'AUTHENTICATION_BUSY',
          ),
        },
      },
    },
    async (request, reply) => {
      const tenant = await findTenant(request.params.id)
      if (tenant.status !== 'suspended') assertActive(tenant.status)
      const issued = await issue(ownerOf(tenant), request.body)
      request.made = { key: issued.id }
      return reply.code(201).header('cache-control', 'no-store').send(issued)
    },
  )

  fastify.delete(
    '/v1/tenants/:id/keys/:keyId',
    {
      schema: {
        tags: TAGS,
        summary: "Revoke one of a tenant's API keys",
        params: TenantKeyParams,
        response: {
          204: Type.Null({ description: 'The key is revoked' }),
          ...problemResponses(...COMMON, 'TENANT_NOT_FOUND', 'KEY_NOT_FOUND'),
        },
      },
    },
    async (request, reply) => {
      await revoke(await tenantOwner(request.params.id), request.params.keyId)
      return reply.code(204).send(null)
    },
  )

  fastify.get(
    '/v1/namespaces/:name/keys',
    {
      schema: {
        tags: TAGS,
        summary: 'List the API keys of a namespace that open all of its tenants, newest first',
        params: NamespaceParams,
        querystring: KeyListQuery,
        response: {
          200: KeyListSchema,
          ...problemResponses(...COMMON, 'NAMESPACE_NOT_FOUND'),
        },
      },
    },
    async (request) => list(await namespaceOwner(request.params.name), request.query),
  )

  fastify.post(
    '/v1/namespaces/:name/keys',
    {
      preValidation: allowNoBody,
      schema: {
        tags: TAGS,
        summary: 'Issue an API key that opens every tenant of this namespace',
        params: NamespaceParams,
        body: NewKeySchema,
        response: {
          201: IssuedKeySchema,
          ...problemResponses(...COMMON, ...BODY_ERRORS, 'NAMESPACE_NOT_FOUND', 'AUTHENTICATION_BUSY'),
        },
      },
    },
    async (request, reply) => {
      const issued = await issue(await namespaceOwner(request.params.name), request.body)
      request.made = { key: issued.id }
      return reply.code(201).header('cache-control', 'no-store').send(issued)
    },
  )

  fastify.delete(
    '/v1/namespaces/:name/keys/:keyId',
    {
      schema: {
        tags: TAGS,
        summary: 'Revoke an API key of a namespace',
        params: NamespaceKeyParams,
        response: {
          204: Type.Null({ description: 'The key is revoked' }),
          ...problemResponses(...COMMON, 'NAMESPACE_NOT_FOUND', 'KEY_NOT_FOUND'),
        },
      },
    },
    async (request, reply) => {
      await revoke(await namespaceOwner(request.params.name), request.params.keyId)
      return reply.code(204).send(null)
    },
  )
}
