import { readFileSync } from 'node:fs'

/** readVersion is the version in package.json, which lies beside both src and dist. */
export function readVersion(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { version }: { version: string } = JSON.parse(manifest)
  return version
}
