import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import { BODY_ERRORS, problemResponses } from '../http/problem-schema.ts'
import { BatchSchema, toBatchRecordBody } from './batch-body.ts'
import { CANARY_NAMESPACE } from './namespace.ts'
import { OnboardedSchema, TenantSchema, toTenantBody } from './tenant-body.ts'
import {
  DemoteSchema,
  NewTenantSchema,
  NewTenantsSchema,
  OnboardHeaders,
  PromoteSchema,
  TenantListQuery,
  TenantListSchema,
  TenantParams,
  TenantPatchSchema,
} from './tenant-schemas.ts'
import type { TenantService } from './tenant-service.ts'

export interface TenantRoutesOptions {
  readonly tenants: TenantService
  /** The most that the body of a batch may have; of other routes it is intake-plugin.ts that says so. */
  readonly batchLimitBytes: number
}

const tags = ['Tenants']
/** Idempotency-Keys are the operator's; there is one. */
const SCOPE = 'operator'
const COMMON = ['INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN', 'CONTROL_UNAVAILABLE'] as const
const ONE = [...COMMON, 'TENANT_NOT_FOUND'] as const

const MOVING = [
  'TENANT_STATUS_CONFLICT',
  'TENANT_BUSY',
  'PROMOTION_UNAVAILABLE',
  'PLACEMENT_UNAVAILABLE',
  'SERVER_UNAVAILABLE',
  'SHUTTING_DOWN',
] as const

/** tenantRoutes is where operators onboard tenants and look after them. Expects accessPlugin. */
export const tenantRoutes: FastifyPluginAsyncTypebox<TenantRoutesOptions> = async (
  fastify,
  { tenants, batchLimitBytes },
) => {
  fastify.addHook('onRequest', fastify.guards.operator)

  fastify.post(
    '/v1/tenants',
    {
      schema: {
        tags,
        summary: 'Onboard a tenant',
        description: 'Makes the tenant, its login and its first API key, which is shown now and never again.',
        headers: OnboardHeaders,
        body: NewTenantSchema,
        response: {
          201: OnboardedSchema,
          ...problemResponses(
            ...COMMON,
            ...BODY_ERRORS,
            'NAMESPACE_NOT_FOUND',
            'SERVER_NOT_FOUND',
            'TENANT_NAME_TAKEN',
            'IDEMPOTENCY_IN_PROGRESS',
            'IDEMPOTENCY_KEY_REUSED',
            'PLACEMENT_UNAVAILABLE',
            'SERVER_UNAVAILABLE',
            'POOL_OPEN_FAILED',
            'POOL_SATURATED',
            'AUTHENTICATION_BUSY',
            'SHUTTING_DOWN',
          ),
        },
      },
    },
    async (request, reply) => {
      const { body, headers } = request
      const key = headers['idempotency-key']
      const onboarded = await tenants.onboard(body, key === undefined ? undefined : { scope: SCOPE, key })
      request.made = { tenant: onboarded.tenant.id, key: onboarded.api_key.id }
      return reply
        .code(201)
        .header('location', `/v1/tenants/${onboarded.tenant.id}`)
        .header('cache-control', 'no-store')
        .send(onboarded)
    },
  )

  fastify.post(
    // Two colons stand for one.
    '/v1/tenants::batch',
    {
      bodyLimit: batchLimitBytes,
      schema: {
        tags,
        summary: 'Onboard many tenants of placement row',
        description:
          'Makes up to a thousand tenants at once, ready for use. A name or id that is taken fails its item ' +
          'alone; the records are in the order of the items, and with one that failed the status is 207. With ' +
          'an Idempotency-Key, which is for the whole batch, a repeated request gets the same tenants.',
        headers: OnboardHeaders,
        body: NewTenantsSchema,
        response: {
          201: BatchSchema,
          207: BatchSchema,
          ...problemResponses(
            ...COMMON,
            ...BODY_ERRORS,
            'NAMESPACE_NOT_FOUND',
            'SERVER_NOT_FOUND',
            'IDEMPOTENCY_KEY_REUSED',
            'PLACEMENT_UNAVAILABLE',
            'AUTHENTICATION_BUSY',
            'SHUTTING_DOWN',
          ),
        },
      },
    },
    async (request, reply) => {
      const { body, headers } = request
      const key = headers['idempotency-key']
      const records = await tenants.onboardBatch(body, key === undefined ? undefined : { scope: SCOPE, key })
      request.made = { tenants: records.filter((record) => 'tenant' in record).length }
      return reply
        .code(records.some((record) => 'error' in record) ? 207 : 201)
        .header('cache-control', 'no-store')
        .send({ records: records.map(toBatchRecordBody) })
    },
  )

  fastify.get(
    '/v1/tenants',
    {
      schema: {
        tags,
        summary: 'List tenants, newest first',
        description:
          'Deleted tenants are listed with `status=deleted` only, and those that the service tries its walls with ' +
          `with \`namespace=${CANARY_NAMESPACE}\` only.`,
        querystring: TenantListQuery,
        response: { 200: TenantListSchema, ...problemResponses(...COMMON, 'NAMESPACE_NOT_FOUND') },
      },
    },
    async ({ query }) => {
      const { records, nextCursor } = await tenants.list(query)
      return { records: records.map(toTenantBody), next_cursor: nextCursor }
    },
  )

  fastify.get(
    '/v1/tenants/:id',
    {
      schema: {
        tags,
        summary: 'Read a tenant, also one that is deleted',
        params: TenantParams,
        response: { 200: TenantSchema, ...problemResponses(...ONE) },
      },
    },
    async ({ params }) => toTenantBody(await tenants.get(idOf(params))),
  )

  fastify.patch(
    '/v1/tenants/:id',
    {
      schema: {
        tags,
        summary: "Change a tenant's name or quota",
        params: TenantParams,
        body: TenantPatchSchema,
        response: {
          200: TenantSchema,
          ...problemResponses(...ONE, ...BODY_ERRORS, 'TENANT_NAME_TAKEN', 'TENANT_STATUS_CONFLICT'),
        },
      },
    },
    async ({ params, body }) => toTenantBody(await tenants.update(idOf(params), body)),
  )

  fastify.post(
    '/v1/tenants/:id/suspend',
    {
      schema: {
        tags,
        summary: 'Refuse all requests of a tenant until it is resumed',
        params: TenantParams,
        response: { 200: TenantSchema, ...problemResponses(...ONE, 'TENANT_STATUS_CONFLICT') },
      },
    },
    async ({ params }) => toTenantBody(await tenants.suspend(idOf(params))),
  )

  fastify.post(
    '/v1/tenants/:id/resume',
    {
      schema: {
        tags,
        summary: 'End the suspension of a tenant',
        params: TenantParams,
        response: { 200: TenantSchema, ...problemResponses(...ONE, 'TENANT_STATUS_CONFLICT') },
      },
    },
    async ({ params }) => toTenantBody(await tenants.resume(idOf(params))),
  )

  fastify.post(
    '/v1/tenants/:id/unblock',
    {
      schema: {
        tags,
        summary: "Lift the block of a tenant's login",
        description:
          'The watchdog of a data server blocks a login whose sessions it has to end again and again: see ' +
          '`block` of the tenant. Rotating the credential lifts the block as well. The login of an active tenant ' +
          'can log in after it, whether a block was written down or not.',
        params: TenantParams,
        response: { 200: TenantSchema, ...problemResponses(...ONE, 'SERVER_UNAVAILABLE') },
      },
    },
    async ({ params }) => toTenantBody(await tenants.unblock(idOf(params))),
  )

  fastify.post(
    '/v1/tenants/:id/rotate-credential',
    {
      schema: {
        tags,
        summary: "Rotate a tenant's database credential",
        description:
          'Makes a new login and tries it out; the answer comes when it is in use. Requests go on meanwhile, ' +
          'those under way with the old login, which is dropped when every process has drained its older ' +
          'pools. Until then the tenant shows the job `rotate`. A rotation that fails changes nothing.',
        params: TenantParams,
        response: {
          202: TenantSchema,
          ...problemResponses(
            ...ONE,
            'TENANT_STATUS_CONFLICT',
            'TENANT_BUSY',
            'PLACEMENT_UNAVAILABLE',
            'SERVER_UNAVAILABLE',
            'POOL_OPEN_FAILED',
            'POOL_SATURATED',
            'SHUTTING_DOWN',
          ),
        },
      },
    },
    async ({ params }, reply) => {
      const tenant = await tenants.rotateCredential(idOf(params))
      return reply.code(202).send(toTenantBody(tenant))
    },
  )

  fastify.post(
    '/v1/tenants/:id/promote',
    {
      schema: {
        tags,
        summary: 'Give a large tenant partitions of its own in the shared tables',
        description:
          'Goes on after the answer, while all tenants are served; until it is done the tenant shows the job ' +
          '`promote` and how far it is. Run again it takes in tables that are new since then.',
        params: TenantParams,
        body: Type.Union([PromoteSchema, Type.Null()]),
        response: { 202: TenantSchema, ...problemResponses(...ONE, ...BODY_ERRORS, ...MOVING) },
      },
    },
    async ({ params, body }, reply) => {
      const tenant = await tenants.promote(idOf(params), { tablespace: body?.tablespace })
      return reply.code(202).send(toTenantBody(tenant))
    },
  )

  fastify.post(
    '/v1/tenants/:id/demote',
    {
      schema: {
        tags,
        summary: "Put a promoted tenant's rows back to everybody else's",
        description:
          'Goes on after the answer, with the job `demote`. Each table stands still for all tenants while ' +
          'rows are put back into it.',
        params: TenantParams,
        body: Type.Union([DemoteSchema, Type.Null()]),
        response: { 202: TenantSchema, ...problemResponses(...ONE, ...BODY_ERRORS, ...MOVING) },
      },
    },
    async ({ params, body }, reply) => {
      const tenant = await tenants.demote(idOf(params), { maxRows: body?.max_rows })
      return reply.code(202).send(toTenantBody(tenant))
    },
  )

  fastify.delete(
    '/v1/tenants/:id',
    {
      schema: {
        tags,
        summary: 'Delete a tenant with its rows, logins and keys',
        description: 'Goes on after the answer; the tenant is `deleting` until it is `deleted`. No way back.',
        params: TenantParams,
        response: {
          202: TenantSchema,
          ...problemResponses(...ONE, 'TENANT_STATUS_CONFLICT', 'TENANT_BUSY', 'SHUTTING_DOWN'),
        },
      },
    },
    async ({ params }, reply) => {
      const tenant = await tenants.delete(idOf(params))
      return reply.code(202).send(toTenantBody(tenant))
    },
  )
}

/** The canonical form, by which the directory and the names of logins go. */
function idOf({ id }: Static<typeof TenantParams>): string {
  return id.toLowerCase()
}
