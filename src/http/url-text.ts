import { LessorError } from '../errors.ts'
import { describe } from './field-errors.ts'
import { shortPath } from './storable-text.ts'

const ENCODING = 'must be UTF-8, percent-encoded'
const NUL = 'must not hold U+0000'

/**
 * assertUrlText refuses what the router and the query parser would take for the text `%ff`, or hand on as
 * U+0000. Costs next to nothing for a URL without a percent sign.
 * @param params the path parameters, as the router has decoded them
 * @throws LessorError INVALID_REQUEST that names the parameter
 */
export function assertUrlText(url: string, params: Readonly<Record<string, string>> = {}): void {
  if (!url.includes('%') || faultOf(url) === undefined) return
  const [path = '', ...rest] = url.split('?')
  for (const pair of rest.join('?').split('&')) {
    const fault = faultOf(pair)
    if (fault === undefined) continue
    const [name = ''] = pair.split('=', 1)
    if (faultOf(name) === undefined) throw invalidParameter('query', decodeURIComponent(name), fault)
    throw new LessorError('INVALID_REQUEST', `The name of a query parameter ${fault}.`)
  }
  const inPath = Object.keys(params).find((name) => params[name]?.includes('\0'))
  if (inPath !== undefined) throw invalidParameter('params', inPath, NUL)
  throw new LessorError('INVALID_REQUEST', `The path ${faultOf(path) ?? ENCODING}.`)
}

function faultOf(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded).includes('\0') ? NUL : undefined
  } catch {
    return ENCODING
  }
}

function invalidParameter(part: 'query' | 'params', name: string, message: string): LessorError {
  const errors = [{ in: part, path: shortPath(name), message }] as const
  return new LessorError('INVALID_REQUEST', describe(errors), { errors })
}
