import { withAdmin } from '../support/template.ts'

export const SERVER_URL_ERROR = '--url must be postgres://user:password@host:port/database.'

export function isServerUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//.test(text) && URL.canParse(text)
}

/** findUnreachable says in a sentence why a server cannot be used, without the URL; undefined when it answers. */
export async function findUnreachable(url: string): Promise<string | undefined> {
  try {
    await withAdmin(url, (admin) => admin`select`)
    return undefined
  } catch (error) {
    return `The server of --url cannot be used: ${reasonOf(error)}.`
  }
}

/** explainParse is what parseArgs found wrong, in one line. */
export function explainParse(error: unknown): string {
  return reasonOf(error).replaceAll(/\s*\n\s*/g, ' ')
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // The error of several addresses has a code alone.
  if (error.message === '' && 'code' in error) return String(error.code)
  return error.message
}
