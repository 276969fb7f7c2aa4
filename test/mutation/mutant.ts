/** MUTANT_KINDS is what can be done to the code, and what each kind is. */
export const MUTANT_KINDS = {
  condition: 'a condition is always true, or never',
  comparison: 'a comparison has another boundary, or is turned round',
  logic: '&& for ||, and the like; a default that never counts',
  boolean: 'true for false; a negation is gone',
  arithmetic: 'plus for minus, and the like',
  return: 'a function returns undefined, or always the same',
  statement: 'a statement is gone',
  body: 'a function does nothing',
  await: 'a promise is not awaited',
  string: 'a text is empty',
  array: 'a list is empty',
  object: 'an object has no properties',
  chain: 'an optional access takes its object for granted',
  call: 'a method is not called, or its counterpart is',
  disposal: 'a resource is not disposed of at the end of its block',
} as const

export type MutantKind = keyof typeof MUTANT_KINDS

/** Edit is a change of one place in a text: what lies from `start` to `end` becomes `text`. */
export interface Edit {
  readonly kind: MutantKind
  readonly start: number
  readonly end: number
  readonly text: string
}

/** Mutant is one edit of a file of the sources. */
export interface Mutant extends Edit {
  /** Below the root, with slashes. */
  readonly file: string
  /** Of its start, from 1. */
  readonly line: number
  /** What was there and what comes in its place, in one line and not longer than a line. */
  readonly from: string
  readonly to: string
  /** The line of the source in which it starts, trimmed. */
  readonly code: string
}

const LONGEST = 120

export function mutantOf(file: string, source: string, edit: Edit): Mutant {
  const before = source.slice(0, edit.start)
  return {
    ...edit,
    file,
    line: before.split('\n').length,
    from: inOneLine(source.slice(edit.start, edit.end)),
    to: inOneLine(edit.text),
    code: source.slice(before.lastIndexOf('\n') + 1, lineEnd(source, edit.start)).trim(),
  }
}

/** applied is the text with the edit made. */
export function applied(source: string, { start, end, text }: Edit): string {
  return source.slice(0, start) + text + source.slice(end)
}

/** diffOf is the lines that the edit changes, before with `-` and after with `+`; long ones are cut. */
export function diffOf(source: string, edit: Edit): string {
  const first = source.lastIndexOf('\n', edit.start - 1) + 1
  const last = lineEnd(source, edit.end)
  const after = applied(source, edit).slice(first, last + edit.text.length - (edit.end - edit.start))
  return [...marked('-', source.slice(first, last)), ...marked('+', after)].join('\n')
}

const MOST_LINES = 6

function marked(mark: string, text: string): readonly string[] {
  const lines = text.split('\n').map((line) => `${mark} ${line}`)
  return lines.length <= MOST_LINES ? lines : [...lines.slice(0, MOST_LINES - 1), `${mark} ...`]
}

function inOneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST)}...`
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end === -1 ? text.length : end
}
