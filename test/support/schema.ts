import type { Test } from 'tap'
import type { TSchema } from 'typebox'
import { validatorCompiler } from '../../src/http/validation.ts'

type Part = 'body' | 'querystring' | 'params' | 'headers'

const compile = validatorCompiler()

/** validatorOf is the service's own check of a value; it puts defaults into the value. */
export function validatorOf(schema: TSchema, httpPart: Part): (value: unknown) => boolean {
  const validate = compile({ schema: schema as object, method: 'POST', url: '/', httpPart })
  return (value) => validate(value) === true
}

/** Samples is what a schema lets pass, and what it does not. */
export interface Samples {
  readonly schema: TSchema
  readonly part: Part
  readonly good: readonly unknown[]
  readonly bad: readonly unknown[]
}

/** trySamples asserts that a schema tells its samples apart. */
export function trySamples(t: Test, samples: Readonly<Record<string, Samples>>): void {
  for (const [name, { schema, part, good, bad }] of Object.entries(samples)) {
    const takes = validatorOf(schema, part)
    for (const value of good) t.equal(takes(value), true, `${name} takes ${shown(value)}`)
    for (const value of bad) t.equal(takes(value), false, `${name} refuses ${shown(value)}`)
  }
}

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, 80)
}
