import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import type { Pools } from '../../src/pool/contract.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { ConnectionLog } from './connection-log.ts'
import { Findings } from './findings.ts'
import { Hazards } from './hazards.ts'
import { callers, exactly, mine, own, type Question } from './question.ts'
import { Random } from './random.ts'
import { Scene, type Stage } from './scene.ts'
import type { FuzzTenant } from './tenant.ts'
import { Watch } from './watch.ts'

// The judge itself: what it lets through, a fuzz cannot find.

const [A, B]: readonly [FuzzTenant, FuzzTenant] = [
  { id: '11111111-1111-4111-8111-111111111111', marker: 'marker a', logins: ['login_a'] },
  { id: '22222222-2222-4222-8222-222222222222', marker: 'marker b', logins: ['login_b'] },
]

function setUp(t: { teardown(fn: () => void): void }, { isShared = false, hangMs = 10_000 } = {}) {
  const findings = new Findings()
  const hazards = new Hazards(isShared)
  const watch = new Watch(hangMs)
  t.teardown(() => watch[Symbol.dispose]())
  let nonce = 0
  const stage: Stage = {
    house: {
      placement: isShared ? 'row' : 'role',
      isShared,
      hasSharedTables: true,
      tenants: [A, B],
      locate: () => Promise.reject(new Error('not asked')),
      terminate: async () => false,
      alter: async () => {},
    },
    // A question needs no pool, only the Db that it is asked with.
    pools: {} as Pools,
    log: new ConnectionLog(),
    hazards,
    findings,
    watch,
    nonce: () => ++nonce,
    counted: () => {},
    generations: new Map(),
    good: () => {
      throw new Error('not asked')
    },
  }
  const scene = (tenant: FuzzTenant) => new Scene(stage, tenant, new Random(1), 'asked')
  const ask = async (
    answer: () => Promise<readonly object[]>,
    question: (asking: ReturnType<Scene['asking']>) => Partial<Question>,
  ) => {
    const asking = scene(A).asking()
    const db = { query: answer, transaction: () => Promise.reject(new Error('not asked')) } as unknown as Db
    await scene(A).ask(db, { statement: sql`select ${mine(asking)} from markers m`, ...question(asking) })
    return findings.counts.map(([name]) => name)
  }
  return { ask, hazards, watch }
}

const row = (changes: object = {}) => ({
  nonce: 1,
  marker: A.marker,
  login: 'login_a',
  tenant: A.id,
  ...changes,
})
const good = (asking: ReturnType<Scene['asking']>) => ({ answer: exactly([own(asking)]) })

for (const [name, rows, findings] of [
  ['its own row', [row()], []],
  ["another tenant's marker", [row({ marker: B.marker })], ['foreign answer: asked']],
  ["another tenant's login", [row({ login: 'login_b' })], ['foreign answer: asked']],
  ['another number', [row({ nonce: 2 })], ['wrong answer: asked']],
  ['no row', [], ['wrong answer: asked']],
  ['a row too many', [row(), row()], ['wrong answer: asked']],
  ['a hole', new Array<object>(1), ['wrong answer: asked']],
  ['a column too many', [row({ more: 1 })], ['wrong answer: asked']],
  [
    'columns in another order',
    [{ marker: A.marker, nonce: 1, login: 'login_a', tenant: A.id }],
    ['wrong answer: asked'],
  ],
] as const) {
  t.test(`an answer with ${name}`, async (t) => {
    const { ask } = setUp(t)
    t.strictSame(await ask(async () => rows, good), findings)
  })
}

t.test('a good statement that fails is a finding, and one that must fail and does not', async (t) => {
  const { ask } = setUp(t)
  await ask(() => Promise.reject(new Error('of another')), good)
  await ask(
    async () => [row()],
    (asking) => ({ error: callers(asking) }),
  )
  t.strictSame(await ask(async () => [row({ nonce: 3 })], good), [
    'foreign error: asked',
    'not refused: asked',
  ])
})

t.test('a bad parameter must be answered by an error of its own place', async (t) => {
  const { ask } = setUp(t)
  const bad = (asking: ReturnType<Scene['asking']>) => ({ error: callers(asking, 2) })
  await ask(() => Promise.reject(new TypeError('parameter $2 is no text')), bad)
  await ask(() => Promise.reject(new TypeError('it is no text')), bad)
  t.strictSame(await ask(() => Promise.reject(new LessorError('INVALID_REQUEST')), bad), [])
  t.strictSame(await ask(() => Promise.reject(new TypeError('parameter $3 is no text')), bad), [
    'foreign error: asked',
  ])
})

t.test(
  'what is allowed beside a hazard is allowed to those whom it reaches, and to nobody else',
  async (t) => {
    const lost = () => Promise.reject(new LessorError('CONNECTION_LOST'))
    for (const [isShared, tenant, findings] of [
      [false, A, []],
      [false, B, ['foreign error: asked']],
      [true, B, []],
    ] as const) {
      const { ask, hazards } = setUp(t, { isShared })
      hazards.add(tenant, { any: ['CONNECTION_LOST'], inTransaction: ['26000'] })
      t.strictSame(await ask(lost, good), findings)
    }
    const { ask, hazards } = setUp(t)
    hazards.add(A, { inTransaction: ['26000'] })
    t.strictSame(
      await ask(() => Promise.reject(Object.assign(new Error('stale'), { code: '26000' })), good),
      ['foreign error: asked'],
      'not outside of a transaction',
    )
  },
)

t.test('what does not end is a hang, and ends the round', async (t) => {
  const { ask, watch } = setUp(t, { hangMs: 20 })
  t.strictSame(await ask(() => new Promise(() => {}), good), ['hang: asked'])
  t.equal(watch.hasHung, true)
})

t.test('what throws at once is judged like what rejects', async (t) => {
  const { ask } = setUp(t)
  const names = await ask(() => {
    throw new Error('at once')
  }, good)
  t.strictSame(names, ['foreign error: asked'])
})
