import { access, constants } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** PROMTOOL_VERSION is the version of Prometheus whose promtool CI runs. */
export const PROMTOOL_VERSION = 'v3.15.0'

/**
 * findPromtool resolves with the path of promtool: the one that the variable PROMTOOL names, else the
 * first on the PATH, else the one that CI keeps in the user's cache; undefined when there is none.
 */
export async function findPromtool(environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  const folders = (environment.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const places = environment.PROMTOOL
    ? [environment.PROMTOOL]
    : [...folders, cacheFolder(environment)].map((folder) => join(folder, 'promtool'))
  for (const place of places) if (await isProgram(place)) return place
  return undefined
}

/** howToGetPromtool tells people what to do when there is none. */
export function howToGetPromtool(environment: NodeJS.ProcessEnv): string {
  const where = environment.PROMTOOL
    ? `PROMTOOL names ${environment.PROMTOOL}, which is no program.`
    : `promtool is neither on the PATH nor in ${cacheFolder(environment)}.`
  return `${where}
It is part of Prometheus: https://prometheus.io/download/ or the package prometheus.
.ci/run builds it with Go 1.26 where it is missing.`
}

function cacheFolder(environment: NodeJS.ProcessEnv): string {
  const cache = environment.XDG_CACHE_HOME || join(environment.HOME || homedir(), '.cache')
  return join(cache, `lessor/promtool-${PROMTOOL_VERSION}`)
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
