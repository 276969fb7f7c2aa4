import { readFile } from 'node:fs/promises'
import t from 'tap'
import { TASKS } from '../../src/tasks.ts'
import { FAILING_KINDS } from '../../src/tenants/job.ts'
import { OPERATING } from '../support/deployed.ts'

const page = await readFile(OPERATING, 'utf8')

/** What stands in backquotes in the first column of the tables below a heading. */
function namesBelow(heading: string): readonly string[] {
  const part = page.split(`\n### ${heading}\n`)[1]?.split('\n### ')[0] ?? ''
  return [...part.matchAll(/^\| ([^|]*) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
  )
}

t.test('docs/operating.md says of every task what it does, and of no other', async (t) => {
  t.strictSame(namesBelow('Tasks').toSorted(), TASKS.toSorted())
})

t.test(
  'docs/operating.md says of every kind of work on a tenant what is not done when it fails',
  async (t) => {
    t.strictSame(namesBelow('LessorJobsFailing').toSorted(), FAILING_KINDS.toSorted())
  },
)
