import { ProblemSchema } from './problem-schema.ts'

/** OpenapiDocument is the part of an OpenAPI document that answers stand in. */
export interface OpenapiDocument {
  paths?: Record<string, Record<string, Operation>>
  components?: { schemas?: Record<string, object> }
}

interface Operation {
  responses?: Record<string, { content?: Record<string, { schema?: object }> }>
}

/** shareProblem names the schema of problems once, where every answer of every route would repeat it. */
export function shareProblem(document: OpenapiDocument): void {
  document.components ??= {}
  document.components.schemas = { ...document.components.schemas, Problem: ProblemSchema }
  for (const path of Object.values(document.paths ?? {})) {
    for (const { responses = {} } of Object.values(path)) {
      for (const { content = {} } of Object.values(responses)) {
        const problem = content['application/problem+json']
        if (problem !== undefined) problem.schema = { $ref: '#/components/schemas/Problem' }
      }
    }
  }
}
