import { SyntaxKind } from 'typescript/unstable/ast'
import type { MutantKind } from './mutant.ts'

interface Swap {
  readonly kind: MutantKind
  readonly to: readonly string[]
}

const comparison = (...to: string[]): Swap => ({ kind: 'comparison', to })
const logic = (...to: string[]): Swap => ({ kind: 'logic', to })
const arithmetic = (...to: string[]): Swap => ({ kind: 'arithmetic', to })

/** OPERATORS is what may stand in place of an operator between two values. */
export const OPERATORS: ReadonlyMap<SyntaxKind, Swap> = new Map([
  [SyntaxKind.LessThanToken, comparison('<=', '>=')],
  [SyntaxKind.LessThanEqualsToken, comparison('<', '>')],
  [SyntaxKind.GreaterThanToken, comparison('>=', '<=')],
  [SyntaxKind.GreaterThanEqualsToken, comparison('>', '<')],
  [SyntaxKind.EqualsEqualsEqualsToken, comparison('!==')],
  [SyntaxKind.ExclamationEqualsEqualsToken, comparison('===')],
  [SyntaxKind.AmpersandAmpersandToken, logic('||')],
  [SyntaxKind.BarBarToken, logic('&&')],
  [SyntaxKind.QuestionQuestionToken, logic('&&')],
  [SyntaxKind.QuestionQuestionEqualsToken, logic('=')],
  [SyntaxKind.BarBarEqualsToken, logic('&&=')],
  [SyntaxKind.AmpersandAmpersandEqualsToken, logic('||=')],
  [SyntaxKind.PlusToken, arithmetic('-')],
  [SyntaxKind.MinusToken, arithmetic('+')],
  [SyntaxKind.AsteriskToken, arithmetic('/')],
  [SyntaxKind.SlashToken, arithmetic('*')],
  [SyntaxKind.PercentToken, arithmetic('*')],
  [SyntaxKind.AmpersandToken, arithmetic('|')],
  [SyntaxKind.BarToken, arithmetic('&')],
  [SyntaxKind.CaretToken, arithmetic('&')],
  [SyntaxKind.LessThanLessThanToken, arithmetic('>>')],
  [SyntaxKind.GreaterThanGreaterThanToken, arithmetic('<<')],
  [SyntaxKind.GreaterThanGreaterThanGreaterThanToken, arithmetic('<<')],
  [SyntaxKind.PlusEqualsToken, arithmetic('-=')],
  [SyntaxKind.MinusEqualsToken, arithmetic('+=')],
  [SyntaxKind.AsteriskEqualsToken, arithmetic('/=')],
  [SyntaxKind.SlashEqualsToken, arithmetic('*=')],
])

/** COMPARES is the operators whose value is a boolean. */
export const COMPARES: ReadonlySet<SyntaxKind> = new Set([
  ...[...OPERATORS].filter(([, { kind }]) => kind === 'comparison').map(([operator]) => operator),
  SyntaxKind.InKeyword,
  SyntaxKind.InstanceOfKeyword,
])

/** DROPPED_METHODS return what could stand in their place: the value that they were called on. */
export const DROPPED_METHODS: ReadonlySet<string> = new Set([
  'filter',
  'slice',
  'subarray',
  'sort',
  'toSorted',
  'reverse',
  'toReversed',
  'trim',
  'toLowerCase',
  'toUpperCase',
])

/** SWAPPED_METHODS have a counterpart of the same type. */
export const SWAPPED_METHODS: ReadonlyMap<string, string> = new Map([
  ['some', 'every'],
  ['every', 'some'],
  ['min', 'max'],
  ['max', 'min'],
  ['ceil', 'floor'],
  ['floor', 'ceil'],
  ['startsWith', 'endsWith'],
  ['endsWith', 'startsWith'],
])
