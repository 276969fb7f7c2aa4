import { type Node, SyntaxKind } from 'typescript/unstable/ast'
import * as is from 'typescript/unstable/ast/is'

/**
 * UNSEEN is the rule of what is not mutated, since no test can see it, or none should: a test that holds the wording
 * of a sentence must be changed with every better sentence. docs/mutation.md says the same to people.
 */
const UNSEEN: readonly ((node: Node) => boolean)[] = [
  // Types, and what only they use, are gone before the code runs.
  (node) => is.isTypeNode(node) || is.isInterfaceDeclaration(node) || is.isTypeAliasDeclaration(node),
  (node) => is.isImportDeclaration(node) || is.isExportDeclaration(node),
  // The text of a statement is SQL's: the walls have a runner of their own (npm run isolation -- --mutate).
  (node) => isText(node) && is.isTaggedTemplateExpression(node.parent),
  // Wording: the sentences of errors, the words of the OpenAPI page.
  (node) => isText(node) && isOfError(node.parent),
  (node) => isWording(node) || (is.isObjectLiteralExpression(node) && node.properties.every(isWording)),
  // What is written to a log; that it is written can be seen.
  (node) => is.isCallExpression(node.parent) && node.parent.expression !== node && isLogCall(node.parent),
  // A branch that only a mistake in the code around it reaches.
  (node) => isBug(node) || (is.isIfStatement(node) && isBug(node.thenStatement)),
  // Shows only as a process that does not end by itself; the tests end theirs.
  (node) => is.isExpressionStatement(node) && /\.unref\(\)$/.test(node.expression.getText()),
]

const WORDING: ReadonlySet<string> = new Set(['description', 'summary', 'title', 'tags', 'message', 'detail'])
const LOG_LEVELS: ReadonlySet<string> = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])

/** isUnseen says whether a node, with all that is in it, is not mutated. */
export function isUnseen(node: Node): boolean {
  return UNSEEN.some((rule) => rule(node))
}

function isText(node: Node): boolean {
  return is.isStringLiteral(node) || is.isNoSubstitutionTemplateLiteral(node) || is.isTemplateExpression(node)
}

function isWording(node: Node): boolean {
  return is.isPropertyAssignment(node) && WORDING.has(nameOf(node.name)) && isSentence(node.initializer)
}

/** A text, or texts that are put together. */
function isSentence(node: Node): boolean {
  if (!is.isBinaryExpression(node)) return isText(node)
  return node.operatorToken.kind === SyntaxKind.PlusToken && isSentence(node.left) && isSentence(node.right)
}

/** The arguments of an error, and the parts of a sentence among them. */
function isOfError(node: Node): boolean {
  if (is.isNewExpression(node)) return /Error$/.test(node.expression.getText())
  if (is.isCallExpression(node) && node.expression.kind === SyntaxKind.SuperKeyword) return isInError(node)
  const isPart = is.isConditionalExpression(node) || is.isBinaryExpression(node)
  return isPart && !isCompared(node) && isOfError(node.parent)
}

/** Whether a node is in a class of errors. */
function isInError(node: Node): boolean {
  if (is.isClassDeclaration(node)) return /Error$/.test(node.name?.text ?? '')
  return node.parent !== undefined && isInError(node.parent)
}

function isCompared(node: Node): boolean {
  return is.isBinaryExpression(node) && node.operatorToken.kind !== SyntaxKind.PlusToken
}

function isLogCall({ expression }: { readonly expression: Node }): boolean {
  return (
    is.isPropertyAccessExpression(expression) &&
    LOG_LEVELS.has(expression.name.text) &&
    /\b#?log(ger)?$/i.test(expression.expression.getText())
  )
}

function isBug(node: Node): boolean {
  if (is.isBlock(node)) return node.statements.length === 1 && node.statements.every(isBug)
  return is.isThrowStatement(node) && /^throw new \w*Error\(\s*['`]bug: /.test(node.getText())
}

function nameOf(node: Node): string {
  return is.isIdentifier(node) || is.isStringLiteral(node) ? node.text : ''
}
