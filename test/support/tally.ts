import { Parser, type Result } from 'tap-parser'

/** Tally is the number of assertions of a run. What is skipped or to do counts as neither. */
export interface Tally {
  readonly passed: number
  readonly failed: number
  /** Full names of what failed. */
  readonly failures: readonly string[]
}

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

class Count implements Tally {
  passed = 0
  failed = 0
  failures: string[] = []
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  fail(name: string): void {
    this.failed++
    this.failures.push(this.#name === '' ? name : `${this.#name} > ${name}`)
  }

  add(inner: Count): void {
    this.passed += inner.passed
    this.failed += inner.failed
    for (const failure of inner.failures) {
      this.failures.push(this.#name === '' ? failure : `${this.#name} > ${failure}`)
    }
  }
}

function follow(parser: Parser, count: Count): void {
  let inner: Count | undefined
  parser.on('child', (child: Parser) => {
    inner = new Count(child.name)
    follow(child, inner)
  })
  parser.on('assert', (point: Result) => {
    if (inner === undefined) {
      if (point.skip || point.todo) return
      if (point.ok) count.passed++
      else count.fail(point.name)
      return
    }
    if (!point.ok && !point.todo && inner.failed === 0) inner.fail('not ok as a whole')
    count.add(inner)
    inner = undefined
  })
  parser.on('complete', () => {
    // A subtest that was cut has no test point to close it.
    if (inner !== undefined) count.add(inner)
  })
}
