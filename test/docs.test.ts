import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const PAGES = [
  'README.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'stress/README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** Folders of the repository that pages name files of. */
const FOLDERS = ['test', 'src', 'docs', 'sql', 'stress', 'deploy']
/** What a page tells the reader to make. */
const EXAMPLES = new Set(['sql/app/000002-notes.sql'])
/** What a run makes, and git ignores. */
const MADE = new Set(['stress/results'])
/** What is a path of something else: the address of a page of the service, a pattern of many. */
const NO_FILE = /^docs\/errors(\/|$)/

function read(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8')
}

/** withoutCode leaves out blocks of code, where nothing is a heading or a link. */
function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, '')
}

/** anchorOf is what GitHub makes of a heading: small letters, hyphens for spaces, nothing else but letters, digits, _ and -. */
function anchorOf(heading: string): string {
  return heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
    .trim()
    .replaceAll(' ', '-')
}

/** anchorsOf is the anchors of a page; of the same heading again the second is `-1`. */
function anchorsOf(page: string): ReadonlySet<string> {
  const anchors = new Set<string>()
  const seen = new Map<string, number>()
  for (const [, heading = ''] of withoutCode(read(page)).matchAll(/^#{1,6} +(.+?) *#*$/gm)) {
    const anchor = anchorOf(heading)
    const before = seen.get(anchor) ?? 0
    seen.set(anchor, before + 1)
    anchors.add(before === 0 ? anchor : `${anchor}-${before}`)
  }
  return anchors
}

/** linksOf is where the links of a page lead that stay in the repository. */
function linksOf(page: string): readonly string[] {
  const text = withoutCode(read(page)).replaceAll(/`[^`\n]*`/g, '')
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
}

/** pathsOf is the files and folders of the repository that a page names, outside of links as well. */
function pathsOf(page: string): readonly string[] {
  const names = read(page).matchAll(
    new RegExp(String.raw`(?<![\w./~-])(?:${FOLDERS.join('|')})/[\w./*{},-]*[\w*}]`, 'g'),
  )
  return [...names].map(([name]) => name)
}

/** isThere says whether a file, a folder, or at least one file of a pattern such as `sql/walls/*.sql` is there. */
function isThere(name: string): boolean {
  if (!name.includes('*')) return existsSync(join(ROOT, name))
  const folder = join(ROOT, dirname(name))
  const pattern = new RegExp(
    `^${relative(folder, join(ROOT, name)).replaceAll('.', String.raw`\.`).replaceAll('*', '.*')}$`,
  )
  return existsSync(folder) && readdirSync(folder).some((file) => pattern.test(file))
}

t.test('links lead to pages and headings that are there', async (t) => {
  const dead = PAGES.flatMap((page) =>
    linksOf(page).flatMap((target) => {
      const [path = '', anchor] = target.split('#')
      const to = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path))
      if (!existsSync(join(ROOT, to))) return `${page}: ${target}`
      if (anchor === undefined || !to.endsWith('.md')) return []
      return anchorsOf(to).has(anchor) ? [] : `${page}: ${target}`
    }),
  )
  t.strictSame(dead, [])
})

t.test('files that pages name are there', async (t) => {
  const missing = PAGES.flatMap((page) =>
    pathsOf(page)
      .filter((name) => !NO_FILE.test(name) && !EXAMPLES.has(name) && !MADE.has(name) && !isThere(name))
      .map((name) => `${page}: ${name}`),
  )
  t.strictSame(missing, [])
})

t.test('every threat is shown by a test or a report that can be run', async (t) => {
  const rows = read('docs/threats.md')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 5 && cells[1] !== 'must never' && !/^-+$/.test(cells[1] ?? ''))
  t.ok(rows.length > 30, 'they are found')
  t.strictSame(
    rows.filter(([, , , shown = '']) => !/test\/[\w/-]+\.test\.ts/.test(shown)).map(([, never]) => never),
    [],
  )
  const named = new Set(Object.keys(JSON.parse(read('package.json')).scripts))
  const commands = PAGES.flatMap((page) =>
    [...read(page).matchAll(/npm run ([a-z][\w:-]*)/g)].map(([, name = '']) => ({ page, name })),
  )
  t.strictSame(
    commands.filter(({ name }) => !named.has(name)),
    [],
  )
})
