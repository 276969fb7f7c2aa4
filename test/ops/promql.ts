/** Selector is one metric in an expression, with what it asks of the labels. */
export interface Selector {
  readonly metric: string
  readonly matchers: readonly Matcher[]
}

export interface Matcher {
  readonly label: string
  readonly operator: string
  readonly value: string
}

/** Expression is what a PromQL expression names. */
export interface Expression {
  readonly selectors: readonly Selector[]
  /** Labels by which it groups or joins, or which it leaves out. */
  readonly grouping: readonly string[]
}

const RANGE = /\[[^\]]*\]/g
const GROUPING = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g
/** A name that is no function: its labels may follow, an opening parenthesis may not. */
const SELECTOR = /(?<![\w.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(?!\w|\s*\()/g
const MATCHER = /(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g
const KEYWORDS: readonly string[] = ['and', 'or', 'unless', 'bool', 'offset']

/**
 * readExpression finds the metrics and labels of a PromQL expression, as far as Lessor's own
 * expressions go: braces and text stand in selectors alone. promtool checks the syntax.
 */
export function readExpression(text: string): Expression {
  const bare = text.replaceAll(RANGE, ' ')
  const grouping = [...bare.matchAll(GROUPING)].flatMap(([, names = '']) =>
    names
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  )
  const selectors = [...bare.replaceAll(GROUPING, ' ').matchAll(SELECTOR)]
    .filter(([, metric = '']) => !KEYWORDS.includes(metric))
    .map(([, metric = '', braces = '']) => ({
      metric,
      matchers: [...braces.matchAll(MATCHER)].map(([, label = '', operator = '', value = '']) => ({
        label,
        operator,
        value,
      })),
    }))
  return { selectors, grouping }
}
