import { type Node, SyntaxKind } from 'typescript/unstable/ast'
import * as is from 'typescript/unstable/ast/is'
import type { Edit, MutantKind } from './mutant.ts'
import { COMPARES, DROPPED_METHODS, OPERATORS, SWAPPED_METHODS } from './operators.ts'

/** editsOf is every edit of a node itself; those of what is in it are found there. Some of them do not compile. */
export function editsOf(node: Node): readonly Edit[] {
  return MUTATORS.flatMap((mutator) => mutator(node))
}

const MUTATORS: readonly ((node: Node) => readonly Edit[])[] = [
  conditions,
  operators,
  prefixes,
  booleans,
  returns,
  statements,
  bodies,
  awaits,
  literals,
  chains,
  calls,
  disposals,
]

function replace(kind: MutantKind, node: Node, ...texts: readonly string[]): readonly Edit[] {
  return texts.map((text) => ({ kind, start: node.getStart(), end: node.end, text }))
}

function conditions(node: Node): readonly Edit[] {
  if (is.isIfStatement(node)) return replace('condition', node.expression, 'true', 'false')
  if (is.isConditionalExpression(node)) return replace('condition', node.condition, 'true', 'false')
  // One that is always true is a loop without an end, and costs the time of one.
  if (is.isWhileStatement(node) || is.isDoStatement(node))
    return replace('condition', node.expression, 'false')
  if (is.isForStatement(node) && node.condition) return replace('condition', node.condition, 'false')
  return []
}

function operators(node: Node): readonly Edit[] {
  if (!is.isBinaryExpression(node)) return []
  const swap = OPERATORS.get(node.operatorToken.kind)
  return swap === undefined ? [] : replace(swap.kind, node.operatorToken, ...swap.to)
}

function prefixes(node: Node): readonly Edit[] {
  if (!is.isPrefixUnaryExpression(node) && !is.isPostfixUnaryExpression(node)) return []
  const operand = node.operand.getText()
  const step = (text: string): string => (is.isPrefixUnaryExpression(node) ? text + operand : operand + text)
  switch (node.operator) {
    case SyntaxKind.ExclamationToken:
      return replace('boolean', node, operand)
    case SyntaxKind.MinusToken:
      return replace('arithmetic', node, operand)
    case SyntaxKind.PlusPlusToken:
      return replace('arithmetic', node, step('--'))
    case SyntaxKind.MinusMinusToken:
      return replace('arithmetic', node, step('++'))
    default:
      return []
  }
}

function booleans(node: Node): readonly Edit[] {
  if (node.kind === SyntaxKind.TrueKeyword) return replace('boolean', node, 'false')
  if (node.kind === SyntaxKind.FalseKeyword) return replace('boolean', node, 'true')
  return []
}

function returns(node: Node): readonly Edit[] {
  const value = returnedBy(node)
  if (value === undefined || value.getText() === 'undefined') return []
  const bare = is.isParenthesizedExpression(value) ? value.expression : value
  return replace('return', value, 'undefined', ...(isBoolean(bare) ? ['true', 'false'] : []))
}

function returnedBy(node: Node): Node | undefined {
  if (is.isReturnStatement(node)) return node.expression
  return is.isArrowFunction(node) && !is.isBlock(node.body) ? node.body : undefined
}

function isBoolean(node: Node): boolean {
  if (is.isPrefixUnaryExpression(node)) return node.operator === SyntaxKind.ExclamationToken
  if (!is.isBinaryExpression(node)) return false
  const { left, operatorToken, right } = node
  if (COMPARES.has(operatorToken.kind)) return true
  return operators(node).some(({ kind }) => kind === 'logic') && (isBoolean(left) || isBoolean(right))
}

function statements(node: Node): readonly Edit[] {
  const goes =
    is.isExpressionStatement(node) ||
    is.isThrowStatement(node) ||
    is.isBreakStatement(node) ||
    is.isContinueStatement(node) ||
    (is.isReturnStatement(node) && node.expression === undefined)
  return goes ? replace('statement', node, ';') : []
}

function bodies(node: Node): readonly Edit[] {
  if (!is.isBlock(node) || node.statements.length < 2) return []
  const { parent } = node
  const isBody =
    is.isFunctionDeclaration(parent) ||
    is.isFunctionExpression(parent) ||
    is.isArrowFunction(parent) ||
    is.isMethodDeclaration(parent) ||
    is.isConstructorDeclaration(parent) ||
    is.isSetAccessorDeclaration(parent)
  return isBody ? replace('body', node, '{}') : []
}

function awaits(node: Node): readonly Edit[] {
  return is.isAwaitExpression(node) ? replace('await', node, node.expression.getText()) : []
}

function literals(node: Node): readonly Edit[] {
  if (is.isStringLiteral(node) || is.isNoSubstitutionTemplateLiteral(node)) {
    if (isName(node)) return []
    return replace('string', node, node.text === '' ? "'mutated'" : "''")
  }
  if (is.isTemplateExpression(node)) return replace('string', node, "''")
  if (is.isArrayLiteralExpression(node) && node.elements.length > 0) return replace('array', node, '[]')
  if (is.isObjectLiteralExpression(node) && node.properties.length > 0) return replace('object', node, '{}')
  return []
}

/** A string that names a property is no value. */
function isName(node: Node): boolean {
  const { parent } = node
  return 'name' in parent && parent.name === node
}

function chains(node: Node): readonly Edit[] {
  if (is.isPropertyAccessExpression(node) && node.questionDotToken !== undefined) {
    return replace('chain', node.questionDotToken, '!.')
  }
  const isOther = is.isElementAccessExpression(node) || is.isCallExpression(node)
  return isOther && node.questionDotToken !== undefined ? replace('chain', node.questionDotToken, '!') : []
}

function calls(node: Node): readonly Edit[] {
  if (!is.isCallExpression(node) || !is.isPropertyAccessExpression(node.expression)) return []
  const { name, expression } = node.expression
  const counterpart = SWAPPED_METHODS.get(name.text)
  if (counterpart !== undefined) return replace('call', name, counterpart)
  return DROPPED_METHODS.has(name.text) ? replace('call', node, expression.getText()) : []
}

function disposals(node: Node): readonly Edit[] {
  if (!is.isVariableDeclarationList(node)) return []
  const start = node.getStart()
  const word = /^(await )?using(?= )/.exec(node.getText())?.[0]
  return word === undefined ? [] : [{ kind: 'disposal', start, end: start + word.length, text: 'const' }]
}
