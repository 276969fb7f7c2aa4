import t from 'tap'
import { ImportGraph } from './import-graph.ts'
import { orderTests } from './order-tests.ts'

function tree(t: Pick<typeof import('tap').default, 'testdir'>): string {
  return t.testdir({
    src: {
      pool: {
        'a.ts': "import { b } from './b.ts'\n",
        'b.ts': 'export const b = 1\n',
        'c.ts': "export type { a } from './a.ts'\nimport './gone.ts'\n",
      },
    },
    test: {
      pool: {
        'a.test.ts': "import { a } from '../../src/pool/a.ts'\n",
        'b.test.ts': "import { b } from '../../src/pool/b.ts'\nimport x from 'tap'\n",
        'c.test.ts': "const c = await import('../../src/pool/c.ts')\n",
      },
      'e.test.ts': "import '../src/pool/c.ts'\n",
      'd.test.ts': "const d = new URL('../src/pool/b.ts', import.meta.url)\n",
    },
  })
}

const TESTS = [
  'test/d.test.ts',
  'test/e.test.ts',
  'test/pool/a.test.ts',
  'test/pool/b.test.ts',
  'test/pool/c.test.ts',
]

t.test('files are found through all that a file loads', async (t) => {
  const graph = new ImportGraph(tree(t))
  t.strictSame(Object.fromEntries(graph.distances('test/pool/c.test.ts')), {
    'test/pool/c.test.ts': 0,
    'src/pool/c.ts': 1,
    'src/pool/a.ts': 2,
    'src/pool/b.ts': 3,
  })
})

t.test('a hash changes with any file that is loaded, and with what is named', async (t) => {
  const hash = (text: string, others: readonly string[] = []): string =>
    new ImportGraph(t.testdir({ 'a.ts': "import './b.ts'\n", 'b.ts': text, 'c.sql': text })).hash(
      'a.ts',
      others,
    )
  t.equal(hash('1'), hash('1'))
  t.not(hash('1'), hash('2'))
  t.not(hash('1', ['c.sql']), hash('1'))
})

t.test('near and quick tests come first, and those that do not load the file not at all', async (t) => {
  const graph = new ImportGraph(tree(t))
  t.strictSame(orderTests('src/pool/b.ts', TESTS, graph, new Map()), {
    near: ['test/pool/b.test.ts', 'test/d.test.ts', 'test/pool/a.test.ts', 'test/pool/c.test.ts'],
    far: ['test/e.test.ts'],
  })
  t.strictSame(orderTests('src/pool/a.ts', TESTS, graph, new Map()), {
    near: ['test/pool/a.test.ts', 'test/pool/c.test.ts'],
    far: ['test/e.test.ts'],
  })
  const slow = new Map([
    ['test/pool/a.test.ts', 9_000],
    ['test/pool/c.test.ts', 1_000],
  ])
  t.strictSame(orderTests('src/pool/a.ts', TESTS, graph, slow), {
    near: ['test/pool/c.test.ts', 'test/pool/a.test.ts'],
    far: ['test/e.test.ts'],
  })
})
