import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { cacheFolder } from './cache-folder.ts'

/** PROMTOOL_VERSION is the version of Prometheus whose promtool CI runs. */
export const PROMTOOL_VERSION = 'v3.15.0'

const CACHE = `promtool-${PROMTOOL_VERSION}`

/**
 * findPromtool resolves with the path of promtool: the one that the variable PROMTOOL names, else the
 * first on the PATH, else the one that CI keeps in the user's cache; undefined when there is none.
 */
export async function findPromtool(environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  const folders = (environment.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const places = environment.PROMTOOL
    ? [environment.PROMTOOL]
    : [...folders, cacheFolder(environment, CACHE)].map((folder) => join(folder, 'promtool'))
  for (const place of places) if (await isProgram(place)) return place
  return undefined
}

/** howToGetPromtool tells people what to do when there is none. */
export function howToGetPromtool(environment: NodeJS.ProcessEnv): string {
  const where = environment.PROMTOOL
    ? `PROMTOOL names ${environment.PROMTOOL}, which is no program.`
    : `promtool is neither on the PATH nor in ${cacheFolder(environment, CACHE)}.`
  return `${where}
It is part of Prometheus: https://prometheus.io/download/ or the package prometheus.
.ci/run builds it with Go 1.26 where it is missing.`
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
