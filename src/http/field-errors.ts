import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import type { FieldError } from '../errors.ts'
import { pointerPart, shortPath } from './storable-text.ts'

type Part = FieldError['in']

/** Errors shown of one request. */
const MAX_ERRORS = 20

const PARTS: Readonly<Record<string, Part>> = { querystring: 'query', params: 'params', headers: 'headers' }

const NOUNS: Readonly<Record<Part, string>> = {
  body: 'body field',
  query: 'query parameter',
  params: 'path parameter',
  headers: 'header',
}

/** fieldErrors turns what Ajv found into {@link FieldError}s: each names its field, none repeats a value. */
export function fieldErrors(
  found: readonly FastifySchemaValidationError[],
  context: string | undefined,
): readonly FieldError[] {
  const part = PARTS[context ?? ''] ?? 'body'
  const errors = new Map<string, FieldError>()
  for (const error of mergeConstants(found)) {
    const path = pathOf(error, part)
    const message = messageOf(error)
    if (errors.size < MAX_ERRORS) errors.set(`${path} ${message}`, { in: part, path, message })
  }
  return [...errors.values()]
}

/** describe is one sentence about the errors, for the `detail` of an answer. */
export function describe(errors: readonly FieldError[]): string {
  const [first] = errors
  if (first === undefined) return 'The request does not fit the schema of this route.'
  const what = first.path === '' ? first.in : `${NOUNS[first.in]} ${first.path}`
  const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`
  return `The ${what} ${first.message}${more}.`
}

/**
 * A union of literals fails with one error for each literal and one for the union. mergeConstants
 * makes of them the one error that an enum would have given.
 */
function mergeConstants(found: readonly FastifySchemaValidationError[]): FastifySchemaValidationError[] {
  const constants = found.filter((error) => error.keyword === 'const')
  return found.flatMap((error) => {
    if (error.keyword === 'const') {
      return found.some((other) => other.keyword === 'anyOf' && other.instancePath === error.instancePath)
        ? []
        : [error]
    }
    if (error.keyword !== 'anyOf') return [error]
    const allowedValues = constants
      .filter((other) => other.instancePath === error.instancePath)
      .map((other) => other.params.allowedValue)
    return allowedValues.length === 0 ? [error] : [{ ...error, keyword: 'enum', params: { allowedValues } }]
  })
}

function pathOf(error: FastifySchemaValidationError, part: Part): string {
  const name = error.params.missingProperty ?? error.params.additionalProperty
  const pointer = typeof name === 'string' ? `${error.instancePath}/${pointerPart(name)}` : error.instancePath
  return shortPath(part === 'body' ? pointer : pointer.slice(1))
}

function messageOf(error: FastifySchemaValidationError): string {
  const { allowedValues } = error.params
  switch (error.keyword) {
    case 'required':
      return 'is required'
    case 'additionalProperties':
      return 'is not known'
    case 'enum':
      return Array.isArray(allowedValues) ? `must be one of ${allowedValues.join(', ')}` : 'is not allowed'
    default:
      return error.message ?? 'is not valid'
  }
}
