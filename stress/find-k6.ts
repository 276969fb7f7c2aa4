import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { cacheFolder } from '../test/support/cache-folder.ts'

/** K6_VERSION is the version that CI runs. */
export const K6_VERSION = 'v1.8.1'

const CACHE = `k6-${K6_VERSION}`

/**
 * findK6 resolves with the path of k6: the one that the variable K6 names, else the first on the
 * PATH, else the one that CI keeps in the user's cache; undefined when there is none.
 */
export async function findK6(environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (environment.K6) return (await isProgram(environment.K6)) ? environment.K6 : undefined
  const folders = (environment.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  for (const folder of [...folders, cacheFolder(environment, CACHE)]) {
    const path = join(folder, 'k6')
    if (await isProgram(path)) return path
  }
  return undefined
}

/** howToGetK6 tells people what to do when there is none. */
export function howToGetK6(environment: NodeJS.ProcessEnv): string {
  const folder = cacheFolder(environment, CACHE)
  const where = environment.K6
    ? `K6 names ${environment.K6}, which is no program.`
    : `k6 is neither on the PATH nor in ${folder}.`
  return `${where}
Get it in one of these ways, then run this again:
  its package: https://grafana.com/docs/k6/latest/set-up/install-k6/
  by Go 1.26, which takes a few minutes:
    GOBIN=${folder} go install go.k6.io/k6@${K6_VERSION}`
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return true
  } catch {
    // Missing, or not ours to run.
    return false
  }
}
