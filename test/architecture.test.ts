import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** LEVELS gives each file of src its level by the first pattern that fits; imports go downward or stay. */
const LEVELS: readonly (readonly [RegExp, number, string])[] = [
  [
    /^(clock|secret|errors|linked-list|nearest|silent-logger|tasks|version|config[^/]*)\.ts$/,
    0,
    'what everything may use',
  ],
  [/^[^/]+\.ts$/, 5, 'the composition'],
  [/^cli\//, 5, 'commands'],
  [
    /^(fleet\/fleet|tenants\/(tenant|tenant-status|namespace|job|name|cursor)|access\/(principal|api-key)|users\/user)\.ts$/,
    0,
    'entities and their values',
  ],
  [/-(plugin|routes|schemas?|request|job)\.ts$/, 4, 'plugins, routes, jobs'],
  [/^(pool|vault|placement)\//, 1, 'engines and placement rules'],
  [/^(control|servers|embedded)\//, 2, 'databases and servers'],
  [/-store\.ts$/, 2, 'stores'],
  [/^(http|ops)\//, 4, 'HTTP and operators'],
  [/^access\/(request|guards)\.ts$/, 4, 'what a request carries, and its guards'],
  [/^(tenants|access|users|quotas|fleet|isolation)\//, 3, 'services'],
]

/** PACKAGES says who alone may import a package, types included. */
const PACKAGES: readonly {
  readonly name: RegExp
  readonly by: (file: string) => boolean
  readonly rule: string
}[] = [
  {
    name: /^(fastify|fastify-plugin|@fastify\/.*)(\/|$)/,
    by: (file) => (levelOf(file) ?? 0) >= 4,
    rule: 'only levels 4 and 5 import Fastify',
  },
  {
    name: /^postgres$/,
    by: (file) => file === 'pool/driver/driver.ts',
    rule: 'only pool/driver/driver.ts imports postgres',
  },
  { name: /^node-cron$/, by: (file) => /-job\.ts$/.test(file), rule: 'only *-job.ts import node-cron' },
]

/** The engine's begins and ends savepoints; it has no statement of ours. */
const HOLDS_SQL = /^(control|placement|servers|isolation)\/|-store\.ts$|^pool\/transaction\.ts$/
const READS_ENVIRONMENT = /^config\.ts$/

/** Source is one file of src; its imports are paths below src, or the names of packages. */
interface Source {
  readonly file: string
  /** Without comments. */
  readonly code: string
  readonly imports: readonly string[]
}

const sources = await readSources(join(ROOT, 'src'))

t.test('every file has a level', async (t) => {
  t.ok(sources.length > 50)
  t.strictSame(
    sources
      .filter(({ file }) => levelOf(file) === undefined)
      .map(({ file }) => `${file}: add it to LEVELS in this test`),
    [],
  )
})

t.test('imports go downward', async (t) => {
  t.strictSame(
    check((file, imported) => {
      const [own, theirs] = [levelOf(file), levelOf(imported)]
      if (own === undefined || theirs === undefined || theirs <= own) return undefined
      return `level ${own} may not import level ${theirs}`
    }),
    [],
  )
})

t.test('files do not import each other in a circle', async (t) => {
  t.strictSame(circles(), [])
})

t.test('imports name a file that is there', async (t) => {
  const files = new Set(sources.map(({ file }) => file))
  t.strictSame(
    check((_, imported) =>
      imported.endsWith('.ts') && !files.has(imported) ? 'there is no such file' : undefined,
    ),
    [],
  )
})

for (const { name, by, rule } of PACKAGES) {
  t.test(rule, async (t) => {
    t.strictSame(
      check((file, imported) => (name.test(imported) && !by(file) ? rule : undefined)),
      [],
    )
  })
}

t.test('a store is imported in its own domain alone', async (t) => {
  t.strictSame(
    check((file, imported) => {
      const foreign = imported.endsWith('-store.ts') && domainOf(imported) !== domainOf(file)
      return foreign && levelOf(file) !== 5 ? 'import the entity, or the service' : undefined
    }),
    [],
  )
})

t.test(
  'SQL stands in stores, control/, placement/, servers/ and isolation/, whose attacks it is',
  async (t) => {
    t.strictSame(
      sources
        .filter(({ file, code }) => /\bsql`/.test(code) && !HOLDS_SQL.test(file))
        .map(({ file }) => file),
      [],
    )
  },
)

t.test('only config.ts reads the environment', async (t) => {
  t.strictSame(
    sources
      .filter(({ file, code }) => /\bprocess\.env\b/.test(code) && !READS_ENVIRONMENT.test(file))
      .map(({ file }) => file),
    [],
  )
})

t.test(
  'only the announcer notifies, outside of all transactions, and the probe of a data server',
  async (t) => {
    t.strictSame(
      sources
        .filter(({ file, code }) => /\bpg_notify\(/.test(code) && !file.startsWith('isolation/'))
        .map(({ file }) => file)
        .toSorted(),
      ['control/announcer.ts', 'servers/probe-abilities.ts'],
    )
  },
)

t.test('every package of the lock file comes from the public registry', async (t) => {
  const lock: { packages: Record<string, { resolved?: string; link?: boolean }> } = JSON.parse(
    await readFile(join(ROOT, 'package-lock.json'), 'utf8'),
  )
  const foreign = Object.entries(lock.packages).filter(
    ([, { resolved }]) => resolved !== undefined && !resolved.startsWith('https://registry.npmjs.org/'),
  )
  t.strictSame(
    foreign.map(([name, { resolved }]) => `${name}: ${resolved}`),
    [],
  )
})

function levelOf(file: string): number | undefined {
  return LEVELS.find(([pattern]) => pattern.test(file))?.[1]
}

/** domainOf is the folder below src; files beside it have none in common. */
function domainOf(file: string): string {
  return file.includes('/') ? dirname(file) : file
}

/** check runs a rule over every import and returns one line for each that breaks it. */
function check(rule: (file: string, imported: string) => string | undefined): string[] {
  return sources.flatMap(({ file, imports }) =>
    imports.flatMap((imported) => {
      const broken = rule(file, imported)
      return broken === undefined ? [] : [`${file} imports ${imported}: ${broken}`]
    }),
  )
}

/** circles returns each import that closes a circle, with the way round, by a search in depth. */
function circles(): string[] {
  const imports = new Map(sources.map((source) => [source.file, source.imports]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) {
      found.push([...way.slice(way.indexOf(file)), file].join(' -> '))
      return
    }
    if (done.has(file)) return
    for (const imported of imports.get(file) ?? []) visit(imported, [...way, file])
    done.add(file)
  }
  for (const { file } of sources) visit(file, [])
  return found
}

async function readSources(folder: string): Promise<readonly Source[]> {
  const names = await readdir(folder, { recursive: true })
  return Promise.all(
    names
      .filter((name) => name.endsWith('.ts'))
      .sort()
      .map(async (file) => {
        const text = await readFile(join(folder, file), 'utf8')
        const imports = importsOf(text).map((name) =>
          name.startsWith('.') ? normalize(join(dirname(file), name)) : name,
        )
        const code = text.replaceAll(/^\s*\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, '')
        return { file, code, imports }
      }),
  )
}

/** importsOf finds import and export declarations, as Biome formats them, and dynamic imports of a literal. */
function importsOf(text: string): string[] {
  const declaration = /^(?:import|export)\s(?:[\w\s{},*$]*?\bfrom\s)?'([^']+)'/gm
  const dynamic = /\bimport\(\s*'([^']+)'/g
  return [...text.matchAll(declaration), ...text.matchAll(dynamic)].flatMap(([, name]) => name ?? [])
}
