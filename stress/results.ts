import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('results/', import.meta.url))

/** resultFile is the path of a file among the results, in a folder that is made and git-ignored. */
export async function resultFile(name: string): Promise<string> {
  await mkdir(FOLDER, { recursive: true })
  return join(FOLDER, name)
}

/** saveResult writes a result with when and on what it was measured, and resolves with its path. */
export async function saveResult(name: string, result: object): Promise<string> {
  const file = await resultFile(`${name}.json`)
  const machine = {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model,
    memoryBytes: totalmem(),
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
  }
  const text = JSON.stringify({ name, at: new Date().toISOString(), machine, ...result }, undefined, 2)
  await writeFile(file, `${text}\n`)
  return file
}
