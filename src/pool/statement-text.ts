import type { QueryText } from './driver-query.ts'
import { Identifier, type Param, Statement } from './statement.ts'

const PREPARED = {}

/**
 * statementText makes of a {@link Statement} what the driver takes. Fragments are spliced in here, once for each
 * combination of templates: the driver would make a query, with a promise of its own, of every fragment of
 * every run. The `strings` that it gets are the same arrays each time, so that its caches by identity work.
 * `quote` makes the driver's own identifier of a name.
 */
export function statementText(statement: Statement, quote: (name: string) => unknown): QueryText {
  const { strings, values } = flatten(statement)
  // Identifiers are rare; without them the values go as they are.
  const args = values.some(isIdentifier)
    ? values.map((each) => (isIdentifier(each) ? quote(each.name) : each))
    : values
  return { strings, args, options: PREPARED, tagged: true }
}

function isIdentifier(value: Param | Identifier): value is Identifier {
  return value instanceof Identifier
}

interface Flat {
  readonly strings: TemplateStringsArray
  readonly values: readonly (Param | Identifier)[]
}

/**
 * Splice is a template with the fragments found in it so far. What came after them is found by how
 * many values stand before the fragment, which says in which hole of the template it is, and by the
 * fragment's own template. Templates live as long as the code that they stand in, and so do these.
 */
class Splice {
  strings: TemplateStringsArray | undefined
  readonly #next: WeakMap<TemplateStringsArray, Splice>[] = []

  after(values: number, fragment: TemplateStringsArray): Splice {
    this.#next[values] ??= new WeakMap()
    return spliceOf(this.#next[values], fragment)
  }
}

const splices = new WeakMap<TemplateStringsArray, Splice>()

function spliceOf(known: WeakMap<TemplateStringsArray, Splice>, strings: TemplateStringsArray): Splice {
  let splice = known.get(strings)
  if (splice === undefined) {
    splice = new Splice()
    known.set(strings, splice)
  }
  return splice
}

function flatten(statement: Statement): Flat {
  const { strings, values } = statement
  if (!values.some(isFragment)) return { strings, values: values as Flat['values'] }
  const flat: (Param | Identifier)[] = []
  const splice = collect(statement, spliceOf(splices, strings), flat)
  splice.strings ??= join(statement)
  return { strings: splice.strings, values: flat }
}

function isFragment(value: Param | Identifier | Statement): value is Statement {
  return value instanceof Statement
}

/** collect appends the values of a statement and its fragments in order, and walks to their splice. */
function collect({ values }: Statement, from: Splice, into: (Param | Identifier)[]): Splice {
  let splice = from
  for (const value of values) {
    if (isFragment(value)) splice = collect(value, splice.after(into.length, value.strings), into)
    else into.push(value)
  }
  return splice
}

/** join writes a statement's text, fragments included, as one template. */
function join(statement: Statement): TemplateStringsArray {
  const parts = partsOf(statement)
  return Object.assign(parts, { raw: parts })
}

/** partsOf is the text before, between and after the values. */
function partsOf({ strings, values }: Statement): string[] {
  const parts = [strings[0] ?? '']
  values.forEach((value, i) => {
    const [first = '', ...others] = isFragment(value) ? partsOf(value) : ['', '']
    parts.push(parts.pop() + first, ...others)
    parts.push(parts.pop() + (strings[i + 1] ?? ''))
  })
  return parts
}
