import { execFile } from 'node:child_process'
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import * as source from '../src/index.ts'

const execute = promisify(execFile)
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MODULES = join(ROOT, 'node_modules')

t.setTimeout(180_000)

/** An app that has installed the packed tarball: its folder, and the paths in the tarball. */
async function install(folder: string) {
  const modules = join(folder, 'node_modules')
  await mkdir(modules)
  // Builds first, by its script `prepack`.
  const { stdout } = await execute('npm', ['pack', '--json', '--silent', `--pack-destination=${folder}`], {
    cwd: ROOT,
    maxBuffer: 16 * 1024 * 1024,
  })
  // What the scripts print comes before.
  const [packed]: { filename: string; files: { path: string }[] }[] = JSON.parse(
    stdout.slice(stdout.search(/^\[$/m)),
  )
  if (packed === undefined) throw new Error('npm pack should say what it has packed')
  await execute('tar', ['-xzf', join(folder, packed.filename), '-C', folder])
  await execute('mv', [join(folder, 'package'), join(modules, 'lessor')])
  // Its dependencies, by the versions of this repository.
  const installed = (await readdir(MODULES)).filter((name) => !name.startsWith('.') && name !== 'lessor')
  for (const name of installed) await symlink(join(MODULES, name), join(modules, name))
  await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  return { paths: packed.files.map(({ path }) => path).toSorted() }
}

t.test('what is packed is what an app needs, and works there', async (t) => {
  const folder = t.testdir()
  const { paths } = await install(folder)

  await t.test('it holds the program, the migrations and the documents, and nothing else', async (t) => {
    const roots = [...new Set(paths.map((path) => path.split('/')[0]))]
    t.strictSame(roots, [
      '.env.example',
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'dist',
      'docs',
      'package.json',
      'sql',
    ])
    const migrations = (await readdir(join(ROOT, 'sql'), { recursive: true })).filter((path) =>
      path.endsWith('.sql'),
    )
    t.ok(migrations.length > 10)
    t.strictSame(
      paths.filter((path) => path.endsWith('.sql')),
      migrations.map((path) => `sql/${path}`).toSorted(),
    )
    const types = paths.filter((path) => path.endsWith('.d.ts'))
    const programs = paths.filter((path) => path.endsWith('.js') && path.startsWith('dist/'))
    t.strictSame(types, programs.map((path) => path.replace(/\.js$/, '.d.ts')).toSorted())
    const sources = (await readdir(join(ROOT, 'src'), { recursive: true })).filter((path) =>
      path.endsWith('.ts'),
    )
    t.strictSame(programs, sources.map((path) => `dist/${path.replace(/\.ts$/, '.js')}`).toSorted())
  })

  await t.test('its module exports what the source does', async (t) => {
    const print = 'import * as lessor from "lessor"; console.log(JSON.stringify(Object.keys(lessor)))'
    const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', print], {
      cwd: folder,
    })
    t.strictSame(JSON.parse(stdout), Object.keys(source))
  })

  await t.test('its types are there for a program that embeds it', async (t) => {
    await writeFile(
      join(folder, 'app.ts'),
      `import { ERRORS, type LessorOptions, lessorPlugin, loadConfig } from 'lessor'
const config: ReturnType<typeof loadConfig> | undefined = undefined
const options: LessorOptions | undefined = undefined
// @ts-expect-error: a status is a number, so that the types are really looked at
const status: string = ERRORS.TENANT_BUSY.status
console.log(config, options, lessorPlugin, status)\n`,
    )
    const tsc = join(MODULES, '.bin', 'tsc')
    const compilerOptions = {
      noEmit: true,
      strict: true,
      module: 'nodenext',
      target: 'es2024',
      types: ['node'],
      skipLibCheck: true,
    }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }))
    const { stdout } = await execute(tsc, ['--project', '.'], { cwd: folder })
    t.equal(stdout, '')
  })

  await t.test('its command runs', async (t) => {
    const cli = join(folder, 'node_modules', 'lessor', 'dist', 'cli.js')
    t.ok((await lstat(cli)).isFile())
    t.match(await readFile(cli, 'utf8'), /^#!\/usr\/bin\/env node\n/)
    const { version }: { version: string } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    const { stdout } = await execute(process.execPath, [cli, '--version'], { cwd: folder })
    t.equal(stdout.trim(), version)
  })
})
