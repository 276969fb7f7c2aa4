import { Parser, type Result } from 'tap-parser'

/** Tally is the number of assertions of a run. What is skipped or to do counts as neither. */
export interface Tally {
  readonly passed: number
  readonly failed: number
  readonly failures: readonly Failure[]
  /** Names of what was skipped or is to do. */
  readonly left: readonly string[]
  /** Names of tests that ended well and asserted nothing. */
  readonly empty: readonly string[]
}

/** FileTally is what one test file came to. */
export interface FileTally extends Tally {
  readonly file: string
  readonly seconds: number
}

/** Failure is an assertion that failed. */
export interface Failure {
  /** Its full name and, as far as its diagnostics say, where it stands. */
  readonly name: string
  /** Beginning of what its diagnostics say: the difference, or the error. Empty when they say nothing. */
  readonly why: string
}

const WHY_CHARACTERS = 2_000

/**
 * tally counts the assertions in TAP text: the test points that close a subtest only repeat what is
 * inside. One that fails with nothing failed inside counts as a failure of its own: a file that
 * crashed, ended with an exit code, or ran out of time.
 */
export function tally(tap: string): Tally {
  const count = new Count('')
  const parser = new Parser()
  follow(parser, count)
  parser.end(tap)
  if (!parser.ok && count.failed === 0) count.fail('the run was cut short')
  return count
}

/** TapReader reads the TAP text of several test files, each of which is a subtest, as it comes. */
export class TapReader {
  readonly #parser = new Parser()
  readonly #files: FileTally[] = []
  readonly #whole = new Count('')

  constructor(onFile: (tally: FileTally) => void = () => {}) {
    follow(this.#parser, this.#whole, (count, point) => {
      const { passed, failed, failures, left, empty } = count
      const seconds = (point.time ?? 0) / 1000
      const file = { file: point.name, passed, failed, failures, left, empty, seconds }
      this.#files.push(file)
      onFile(file)
    })
  }

  write(text: string): void {
    this.#parser.write(text)
  }

  /** end resolves with the files that have ended. */
  end(): readonly FileTally[] {
    this.#parser.end()
    return this.#files
  }
}

class Count implements Tally {
  passed = 0
  failed = 0
  failures: Failure[] = []
  left: string[] = []
  empty: string[] = []
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  fail(name: string, why = ''): void {
    this.failed++
    this.#keep({ name, why })
  }

  get isEmpty(): boolean {
    return this.passed + this.failed + this.left.length === 0
  }

  leave(name: string): void {
    this.left.push(this.#full(name))
  }

  add(inner: Count): void {
    this.passed += inner.passed
    this.failed += inner.failed
    for (const failure of inner.failures) this.#keep(failure)
    for (const name of inner.left) this.leave(name)
    for (const name of inner.empty) this.empty.push(this.#full(name))
  }

  /** addEmpty remembers a subtest in which nothing was asserted. */
  addEmpty(name: string): void {
    this.empty.push(this.#full(name))
  }

  #keep({ name, why }: Failure): void {
    this.failures.push({ name: this.#full(name), why })
  }

  #full(name: string): string {
    return this.#name === '' ? name : `${this.#name} > ${name}`
  }
}

/** Where an assertion stands, as far as its diagnostics say (tap's `at`). */
function place({ diag }: Result): string {
  const { fileName, lineNumber } = diag?.at ?? {}
  return typeof lineNumber === 'number' ? ` (${fileName}:${lineNumber})` : ''
}

/** tap's own names: `diff` of values that were compared, `error` and `message` of what was thrown. */
function why({ diag }: Result): string {
  const said: unknown = diag?.diff ?? diag?.error ?? diag?.message ?? ''
  return String(typeof said === 'string' ? said : JSON.stringify(said))
    .trim()
    .slice(0, WHY_CHARACTERS)
}

function follow(
  parser: Parser,
  count: Count,
  onChild: (child: Count, point: Result) => void = () => {},
): void {
  let inner: Count | undefined
  parser.on('child', (child: Parser) => {
    inner = new Count(child.name)
    follow(child, inner)
  })
  parser.on('assert', (point: Result) => {
    if (inner === undefined) {
      if (point.skip || point.todo) {
        count.leave(point.name)
        return
      }
      if (point.ok) count.passed++
      else count.fail(point.name + place(point), why(point))
      return
    }
    if (!point.ok && !point.todo && inner.failed === 0) inner.fail('not ok as a whole')
    if (point.skip || point.todo) count.leave(point.name)
    else if (inner.isEmpty) count.addEmpty(point.name)
    count.add(inner)
    onChild(inner, point)
    inner = undefined
  })
  parser.on('complete', () => {
    // A subtest that was cut has no test point to close it.
    if (inner !== undefined) count.add(inner)
  })
}
