import { Statement } from './statement.ts'

/**
 * StatementKind is what the engine has to know of a statement before it is sent. `transaction` begins or ends a
 * transaction, `copy` is a COPY to or from the client, `empty` has nothing but white space and comments.
 */
export type StatementKind = 'plain' | 'transaction' | 'copy' | 'empty'

/** TRANSACTION_REFUSED is the remedy for a statement of kind `transaction`. */
export const TRANSACTION_REFUSED =
  'A transaction is not begun or ended by a statement; use db.transaction(), which commits, or rolls back when its function throws.'
/** COPY_REFUSED is the remedy for a statement of kind `copy`. */
export const COPY_REFUSED =
  'COPY to or from the client is not sent as a statement; use SELECT or INSERT, or psql by "lessor connect".'
const EMPTY_REFUSED = 'The statement is empty: it has no SQL but white space and comments.'

const REFUSED: Readonly<Record<Exclude<StatementKind, 'plain'>, string>> = {
  transaction: TRANSACTION_REFUSED,
  copy: COPY_REFUSED,
  empty: EMPTY_REFUSED,
}

/**
 * refusal returns the error of a statement that must not be sent on a connection of the engine's; undefined for all
 * others. SAVEPOINT, RELEASE and ROLLBACK TO stay within their transaction, and SET TRANSACTION with them.
 */
export function refusal(statement: Statement): Error | undefined {
  const kind = kindOf(statement)
  return kind === 'plain' ? undefined : new Error(REFUSED[kind])
}

/**
 * kindOf reads a statement's first words, as PostgreSQL's lexer does: it passes over white space, `--` comments,
 * nested comments and empty statements. For nearly all templates their first string tells, once for all.
 */
export function kindOf(statement: Statement): StatementKind {
  return isPlain(statement) ? 'plain' : classify(textOf(statement))
}

/**
 * The first words of statements that are planned, so that PostgreSQL itself sees to it that what was prepared has the
 * columns that it had (src/backend/utils/cache/plancache.c, RevalidateCachedQuery: "cached plan must not change result
 * type"). Of others, as FETCH and EXECUTE, the columns follow from what a name stands for at the moment.
 */
const PLANNED = new Set(['select', 'insert', 'update', 'delete', 'merge', 'with', 'values', 'table'])

/** isPlanned says whether what a text gave once it gives whenever it is run, so that it can be prepared. */
export function isPlanned(text: string): boolean {
  const lexer = new Lexer(text)
  lexer.skipEmpty()
  while (text[lexer.place] === '(') {
    lexer.skipSign()
    lexer.skipBlank()
  }
  return PLANNED.has(lexer.word() ?? '')
}

/** By the first string of a template: `plain` whatever comes behind it, or as plain as a fragment that comes next. */
type Opening = 'plain' | 'fragment' | 'unknown'

const openings = new WeakMap<TemplateStringsArray, Opening>()

/** isPlain is false of what is not known to be plain by the templates alone. */
function isPlain({ strings, values }: Statement): boolean {
  let opening = openings.get(strings)
  if (opening === undefined) {
    opening = openingOf(strings)
    openings.set(strings, opening)
  }
  if (opening !== 'fragment') return opening === 'plain'
  const [first] = values
  return first instanceof Statement && isPlain(first)
}

/** The first words that are looked at further. */
const SUSPECTS = new Set(['begin', 'start', 'commit', 'end', 'abort', 'rollback', 'prepare', 'copy'])

function openingOf([text = '']: TemplateStringsArray): Opening {
  const lexer = new Lexer(text)
  lexer.skipEmpty()
  if (lexer.isAtEnd) return lexer.openComment === undefined ? 'fragment' : 'unknown'
  const word = lexer.word()
  if (word === undefined) lexer.skipSign()
  // What comes behind it could go on with the word, or make a comment of the sign.
  if (lexer.isAtEnd) return 'unknown'
  return word !== undefined && SUSPECTS.has(word) ? 'unknown' : 'plain'
}

/** textOf is the text as it is sent, but for the numbers of the parameters and the names of identifiers. */
function textOf({ strings, values }: Statement): string {
  return strings.reduce((text, part, i) => {
    const value = values[i - 1]
    return text + (value instanceof Statement ? textOf(value) : '$1') + part
  })
}

/** The grammar of these is TransactionStmt, PrepareStmt and CopyStmt in PostgreSQL's src/backend/parser/gram.y. */
function classify(text: string): StatementKind {
  const lexer = new Lexer(text)
  lexer.skipEmpty()
  if (lexer.isAtEnd) return lexer.openComment === 'nested' ? 'plain' : 'empty'
  switch (lexer.word()) {
    case 'begin':
    case 'start':
    case 'commit':
    case 'end':
    case 'abort':
      return 'transaction'
    case 'rollback':
      return isRollbackTo(lexer) ? 'plain' : 'transaction'
    case 'prepare':
      // `transaction` may be the name of a statement that is prepared as well.
      return lexer.nextWord() === 'transaction' && lexer.nextIsString() ? 'transaction' : 'plain'
    case 'copy':
      return isOfClient(lexer) ? 'copy' : 'plain'
    default:
      return 'plain'
  }
}

function isRollbackTo(lexer: Lexer): boolean {
  const word = lexer.nextWord()
  return (word === 'work' || word === 'transaction' ? lexer.nextWord() : word) === 'to'
}

/** PostgreSQL takes STDIN and STDOUT for the same. */
function isOfClient(lexer: Lexer): boolean {
  for (let depth = 0; ; ) {
    lexer.skipBlank()
    if (lexer.isAtEnd) return false
    const word = lexer.word()
    if (word === undefined) depth += lexer.skipSign()
    else if (depth === 0 && (word === 'from' || word === 'to')) {
      const where = lexer.nextWord()
      return where === 'stdin' || where === 'stdout'
    }
  }
}

const WORD = /[a-z_\u0080-\uffff][\w$\u0080-\uffff]*/iy
const SPACE = /[ \t\n\r\f\v]+/y
const LINE_COMMENT = /--[^\n\r]*/y
/** Of a nested comment: what opens or closes one. */
const COMMENT_MARK = /\/\*|\*\//g
/** Where a string constant begins, dollar-quoted ones included. */
const STRING_START = /(?:[ebxn]|u&)?'|\$(?:[a-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/iy
const QUOTED = [
  /e'(?:[^'\\]|''|\\[\s\S])*'/iy,
  /'(?:[^']|'')*'/y,
  /"(?:[^"]|"")*"/y,
  /\$((?:[a-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[\s\S]*?\$\1\$/iy,
]

/** Lexer reads a statement as far as it takes to know its kind (PostgreSQL's src/backend/parser/scan.l). */
class Lexer {
  readonly #text: string
  #at = 0
  /** The kind of comment that the text ends in, if it does. */
  openComment: 'line' | 'nested' | undefined

  constructor(text: string) {
    this.#text = text
  }

  get place(): number {
    return this.#at
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length
  }

  /** skipEmpty passes over white space, comments and the ends of empty statements. */
  skipEmpty(): void {
    this.skipBlank()
    while (this.#text[this.#at] === ';') {
      this.#at += 1
      this.skipBlank()
    }
  }

  skipBlank(): void {
    while (this.#take(SPACE) !== undefined || this.#skipComment());
  }

  /** word takes a word that stands here, in lower case; undefined when there is none. */
  word(): string | undefined {
    const start = this.#at
    if (this.#take(QUOTED[0]) !== undefined) {
      this.#at = start
      return undefined
    }
    return this.#take(WORD)?.toLowerCase()
  }

  nextWord(): string | undefined {
    this.skipBlank()
    return this.word()
  }

  nextIsString(): boolean {
    this.skipBlank()
    STRING_START.lastIndex = this.#at
    return STRING_START.test(this.#text)
  }

  /** skipSign passes over what is no word: something quoted, or one sign. Returns how many parentheses deeper it is. */
  skipSign(): number {
    for (const quoted of QUOTED) if (this.#take(quoted) !== undefined) return 0
    const sign = this.#text[this.#at]
    this.#at += 1
    return sign === '(' ? 1 : sign === ')' ? -1 : 0
  }

  #skipComment(): boolean {
    if (this.#take(LINE_COMMENT) !== undefined) {
      if (this.isAtEnd) this.openComment = 'line'
      return true
    }
    if (!this.#text.startsWith('/*', this.#at)) return false
    COMMENT_MARK.lastIndex = this.#at
    for (let depth = 0; ; ) {
      const mark = COMMENT_MARK.exec(this.#text)
      if (mark === null) {
        this.#at = this.#text.length
        this.openComment = 'nested'
        return true
      }
      depth += mark[0] === '/*' ? 1 : -1
      if (depth > 0) continue
      this.#at = COMMENT_MARK.lastIndex
      return true
    }
  }

  #take(pattern: RegExp | undefined): string | undefined {
    if (pattern === undefined) return undefined
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    this.#at += found?.length ?? 0
    return found
  }
}
