import AjvCompiler from '@fastify/ajv-compiler'
import type { FastifySchemaCompiler } from 'fastify'
import type { FastifySchema } from 'fastify/types/schema.js'

/**
 * validatorCompiler makes the compiler of all request schemas. Nothing is removed or guessed: an
 * unknown field is an error, and a body's values must have their type. Only path and query, which
 * are text on the wire, are converted. Every error is reported; the body limit bounds the work.
 */
export function validatorCompiler(): FastifySchemaCompiler<FastifySchema> {
  const build = AjvCompiler()
  const common = { removeAdditional: false, useDefaults: true, allErrors: true } as const
  const strict = build({}, { customOptions: { ...common, coerceTypes: false } })
  const converting = build({}, { customOptions: { ...common, coerceTypes: 'array' } })
  return (route) => (route.httpPart === 'body' ? strict(route) : converting(route))
}
