const [OPEN, CLOSE, QUOTE, BACKSLASH] = [0x7b, 0x7d, 0x22, 0x5c]
/** What stands before an array whose indexes do not begin at 1. */
const BOUNDS = /^(?:\[-?\d+:-?\d+\])+=/

/**
 * parseArray reads what PostgreSQL writes for an array (manual, "Array Input and Output Syntax"; `array_out` in
 * src/backend/utils/adt/arrayfuncs.c) in time that grows with its length alone: more dimensions as arrays in
 * arrays, NULL as null, bounds ignored.
 *
 * @param item makes a value of an item's text, without its quotes
 * @throws SyntaxError, without the text, for anything that PostgreSQL does not write; and what `item` throws
 */
export function parseArray(text: string, delimiter: ',' | ';', item: (text: string) => unknown): unknown[] {
  const between = delimiter.charCodeAt(0)
  const end = text.length
  let at = BOUNDS.exec(text)?.[0].length ?? 0

  const items: unknown[] = []
  const outer: unknown[][] = []
  let current = items
  expect(OPEN)
  // The empty array is the only one whose closing brace does not follow an item.
  if (text.charCodeAt(at) === CLOSE) {
    at++
    return finish()
  }
  for (;;) {
    if (text.charCodeAt(at) === OPEN) {
      at++
      const inner: unknown[] = []
      current.push(inner)
      outer.push(current)
      current = inner
      continue
    }
    current.push(text.charCodeAt(at) === QUOTE ? item(quoted()) : bare())
    while (text.charCodeAt(at) === CLOSE) {
      at++
      const parent = outer.pop()
      if (parent === undefined) return finish()
      current = parent
    }
    expect(between)
  }

  function expect(code: number): void {
    if (text.charCodeAt(at) !== code) throw malformed()
    at++
  }

  function finish(): unknown[] {
    if (at !== end) throw malformed()
    return items
  }

  function quoted(): string {
    const start = ++at
    let isEscaped = false
    for (; at < end; at++) {
      const code = text.charCodeAt(at)
      if (code === QUOTE) {
        const inside = text.slice(start, at++)
        return isEscaped ? inside.replace(/\\(.)/gs, '$1') : inside
      }
      if (code === BACKSLASH) {
        isEscaped = true
        at++
      }
    }
    throw malformed()
  }

  function bare(): unknown {
    const start = at
    for (; at < end; at++) {
      const code = text.charCodeAt(at)
      if (code === between || code === CLOSE) break
      if (code === OPEN || code === QUOTE || code === BACKSLASH) throw malformed()
    }
    const inside = text.slice(start, at)
    if (inside === '') throw malformed()
    return inside === 'NULL' ? null : item(inside)
  }
}

function malformed(): SyntaxError {
  return new SyntaxError('not an array in the form that PostgreSQL writes')
}
