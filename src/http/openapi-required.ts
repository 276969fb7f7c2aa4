interface Operation {
  readonly parameters?: { required?: boolean; readonly schema?: { readonly default?: unknown } }[]
  readonly requestBody?: { required?: boolean; readonly content: Readonly<Record<string, { schema?: Body }>> }
}

interface Body {
  readonly type?: string
  readonly anyOf?: readonly Body[]
  readonly properties?: Readonly<Record<string, { readonly default?: unknown }>>
  readonly required?: readonly string[]
}

/** RequiredDocument is the part of an OpenAPI document that says what is sent. */
export interface RequiredDocument {
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

/**
 * markRequired corrects what a document says must be sent: nothing that has a default, and no body where `null` is one.
 * A schema's default is filled in before it is checked, so that it is written as required.
 */
export function markRequired({ paths = {} }: RequiredDocument): void {
  for (const { parameters = [], requestBody } of Object.values(paths).flatMap(Object.values<Operation>)) {
    for (const parameter of parameters) {
      if (parameter.schema?.default !== undefined) parameter.required = false
    }
    if (requestBody === undefined) continue
    for (const content of Object.values(requestBody.content)) {
      const { anyOf = [] } = content.schema ?? {}
      const [body] = anyOf.filter(({ type }) => type !== 'null')
      if (anyOf.length === 2 && anyOf.some(({ type }) => type === 'null') && body !== undefined) {
        requestBody.required = false
        content.schema = body
      }
      content.schema &&= withoutDefaults(content.schema)
    }
  }
}

function withoutDefaults(body: Body): Body {
  if (body.required === undefined) return body
  return { ...body, required: body.required.filter((name) => body.properties?.[name]?.default === undefined) }
}
