import { homedir } from 'node:os'
import { join } from 'node:path'

/** cacheFolder is where in the user's cache (XDG Base Directory Specification) a tool of the project's is kept. */
export function cacheFolder(environment: NodeJS.ProcessEnv, name: string): string {
  return join(environment.XDG_CACHE_HOME || join(environment.HOME || homedir(), '.cache'), 'lessor', name)
}
