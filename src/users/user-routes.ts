import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type {} from '../access/request.ts'
import { LessorError } from '../errors.ts'
import { BODY_ERRORS, problemResponses } from '../http/problem-schema.ts'
import type { Pools } from '../pool/contract.ts'
import type { TenantRef } from '../tenants/tenant.ts'
import { userListRequest } from './user-list-request.ts'
import {
  NewUserSchema,
  NoQuery,
  UserListQuery,
  UserListSchema,
  UserParams,
  UserPatchSchema,
  UserSchema,
} from './user-schemas.ts'
import { deleteUser, findUser, insertUser, listUsers, updateUser } from './user-store.ts'

export interface UserRoutesOptions {
  readonly pools: Pick<Pools, 'use'>
  /** Group of the routes on the OpenAPI page. */
  readonly tag?: string
}

const JSON_TYPE = 'application/json; charset=utf-8'

/** What handlers send is the JSON text of these, which PostgreSQL wrote and Fastify passes on as it is. */
const UserJson = Type.Unsafe<string>({ ...UserSchema, description: 'The user' })
const UserListJson = Type.Unsafe<string>({ ...UserListSchema, description: 'A page of users' })

const FOR_ALL = [
  'INVALID_REQUEST',
  'TENANT_REQUIRED',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'TENANT_FORBIDDEN',
  'TENANT_SUSPENDED',
  'LOGIN_BLOCKED',
  'TENANT_NOT_ACTIVE',
  'POOL_SATURATED',
  'POOL_OPEN_FAILED',
  'TENANT_UNAVAILABLE',
  'SERVER_UNAVAILABLE',
  'CONTROL_UNAVAILABLE',
  'CONNECTION_LOST',
  'DATABASE_READ_ONLY',
  'SHUTTING_DOWN',
  'STATEMENT_TIMEOUT',
  'REQUEST_TIMEOUT',
  'TRANSACTION_CONFLICT',
  'DATABASE_OVERLOADED',
  'DATABASE_FULL',
  'TEMP_SPACE_EXCEEDED',
] as const

/** userRoutes are a tenant's users. Expects a guard before it that sets `request.tenant`. */
export const userRoutes: FastifyPluginAsyncTypebox<UserRoutesOptions> = async (fastify, options) => {
  const { pools, tag = 'Users' } = options
  const tags = [tag]

  fastify.post(
    '/',
    {
      schema: {
        tags,
        summary: 'Add a user',
        querystring: NoQuery,
        body: NewUserSchema,
        response: { 201: UserJson, ...problemResponses(...FOR_ALL, ...BODY_ERRORS, 'CONSTRAINT_VIOLATED') },
      },
    },
    async (request, reply) => {
      const { first_name, last_name, confirmed } = request.body
      const tenant = tenantOf(request)
      const user = { firstName: first_name, lastName: last_name, confirmed }
      const { id, json } = await pools.use(tenant, request, (db) => insertUser(db, tenant.tenantId, user))
      const [path = ''] = request.url.split('?', 1)
      return reply
        .code(201)
        .header('location', `${path.replace(/\/$/, '')}/${id}`)
        .type(JSON_TYPE)
        .send(json)
    },
  )

  fastify.get(
    '/',
    {
      schema: {
        tags,
        summary: 'List users: search, filter, sort, page',
        querystring: UserListQuery,
        response: { 200: UserListJson, ...problemResponses(...FOR_ALL) },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request)
      const list = userListRequest(request.query)
      const { records, total } = await pools.use(tenant, request, (db) =>
        listUsers(db, tenant.tenantId, list),
      )
      const { page, pageSize } = list
      const pages = Math.ceil(total / pageSize)
      return reply
        .type(JSON_TYPE)
        .send(
          `{"records":[${records}],"page":${page},"page_size":${pageSize},"total":${total},"total_pages":${pages}}`,
        )
    },
  )

  fastify.get(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Read a user',
        params: UserParams,
        querystring: NoQuery,
        response: { 200: UserJson, ...problemResponses(...FOR_ALL, 'USER_NOT_FOUND') },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request)
      const { id } = request.params
      const json = await pools.use(tenant, request, (db) => findUser(db, tenant.tenantId, id))
      return reply.type(JSON_TYPE).send(found(json, id))
    },
  )

  fastify.patch(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Change a user',
        params: UserParams,
        querystring: NoQuery,
        body: UserPatchSchema,
        response: {
          200: UserJson,
          ...problemResponses(...FOR_ALL, ...BODY_ERRORS, 'CONSTRAINT_VIOLATED', 'USER_NOT_FOUND'),
        },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request)
      const { id } = request.params
      const { first_name = null, last_name = null, confirmed = null } = request.body
      const change = { firstName: first_name, lastName: last_name, confirmed }
      const json = await pools.use(tenant, request, (db) => updateUser(db, tenant.tenantId, id, change))
      return reply.type(JSON_TYPE).send(found(json, id))
    },
  )

  fastify.delete(
    '/:id',
    {
      schema: {
        tags,
        summary: 'Delete a user',
        params: UserParams,
        querystring: NoQuery,
        response: {
          204: Type.Null({ description: 'The user is deleted' }),
          ...problemResponses(...FOR_ALL, 'USER_NOT_FOUND'),
        },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request)
      const { id } = request.params
      if (!(await pools.use(tenant, request, (db) => deleteUser(db, tenant.tenantId, id)))) throw notFound(id)
      return reply.code(204).send(null)
    },
  )
}

function tenantOf(request: FastifyRequest): TenantRef {
  if (request.tenant === null) throw new Error('bug: users are served without a guard that names the tenant')
  return request.tenant
}

function found(json: string | undefined, id: string): string {
  if (json === undefined) throw notFound(id)
  return json
}

function notFound(id: string): LessorError {
  return new LessorError('USER_NOT_FOUND', `There is no user ${id}.`)
}
