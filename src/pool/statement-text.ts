import { Identifier, type Param, Statement } from './statement.ts'
import { isPlanned } from './statement-kind.ts'

/** StatementText is a statement as the server reads it: `$1`, `$2`, ... in the text, and what stands for them. */
export interface StatementText {
  readonly text: string
  readonly values: readonly Param[]
  /** Whether it can be prepared; see isPlanned. */
  readonly isPlanned: boolean
}

/**
 * statementText makes of a {@link Statement} its text and its parameters, numbered in the order of their places.
 * Fragments are spliced in and identifiers quoted. A text without identifiers is made once for each combination of
 * templates.
 * @throws TypeError when a name cannot be an identifier of PostgreSQL, or the text cannot be sent
 */
export function statementText(statement: Statement): StatementText {
  const { strings, values } = statement
  if (!values.some(isSpecial)) {
    return { ...textOf(spliceOf(splices, strings), statement), values: values as readonly Param[] }
  }
  const flat: (Param | Identifier)[] = []
  const splice = collect(statement, spliceOf(splices, strings), flat)
  if (!flat.some(isIdentifier)) return { ...textOf(splice, statement), values: flat as readonly Param[] }
  return {
    ...read(statement),
    values: flat.filter((each): each is Param => !isIdentifier(each)),
  }
}

/** Text is what a statement's templates come to. */
type Text = Pick<StatementText, 'text' | 'isPlanned'>

function textOf(splice: Splice, statement: Statement): Text {
  splice.text ??= read(statement)
  return splice.text
}

function read(statement: Statement): Text {
  const text = checked(join(statement, { parameters: 0 }))
  return { text, isPlanned: isPlanned(text) }
}

function isSpecial(value: Param | Identifier | Statement): boolean {
  return value instanceof Statement || value instanceof Identifier
}

function isIdentifier(value: Param | Identifier): value is Identifier {
  return value instanceof Identifier
}

function isFragment(value: Param | Identifier | Statement): value is Statement {
  return value instanceof Statement
}

/**
 * Splice is a template with the fragments found in it so far. What came after them is found by how
 * many values stand before the fragment, which says in which hole of the template it is, and by the
 * fragment's own template. Templates live as long as the code that they stand in, and so do these.
 */
class Splice {
  text: Text | undefined
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

/** collect appends the values of a statement and its fragments in order, and walks to their splice. */
function collect({ values }: Statement, from: Splice, into: (Param | Identifier)[]): Splice {
  let splice = from
  for (const value of values) {
    if (isFragment(value)) splice = collect(value, splice.after(into.length, value.strings), into)
    else into.push(value)
  }
  return splice
}

/** join writes a statement's text, fragments included; `count` numbers its parameters. */
function join({ strings, values }: Statement, count: { parameters: number }): string {
  let text = strings[0] ?? ''
  values.forEach((value, i) => {
    if (isFragment(value)) text += join(value, count)
    else if (isIdentifier(value)) text += quoted(value.name)
    else {
      count.parameters += 1
      text += `$${count.parameters}`
    }
    text += strings[i + 1] ?? ''
  })
  return text
}

/** checked returns a text that can be sent: a NUL would end it, and half a character would become another one. */
export function checked(text: string): string {
  if (text.includes('\0') || !text.isWellFormed()) {
    throw new TypeError('The text of a statement must be well-formed and without NUL.')
  }
  return text
}

/** NAMEDATALEN - 1 of PostgreSQL, which cuts longer names off without an error, so that they are other names. */
const MAX_NAME_BYTES = 63

/** quoted quotes a name; a dot in it divides a schema from what lies in it. */
function quoted(name: string): string {
  const parts = name.split('.')
  for (const part of parts) {
    const bytes = Buffer.byteLength(part)
    if (bytes === 0 || bytes > MAX_NAME_BYTES || part.includes('\0') || !part.isWellFormed()) {
      throw new TypeError(
        'An identifier must have 1 to 63 bytes of well-formed text without NUL between its dots.',
      )
    }
  }
  return parts.map((part) => `"${part.replaceAll('"', '""')}"`).join('.')
}
