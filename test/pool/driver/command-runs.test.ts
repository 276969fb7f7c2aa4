import t from 'tap'
import type { Rows } from '../../../src/pool/contract.ts'
import { type CommandRun, CopyRun, ScriptRun, TransactionRun } from '../../../src/pool/driver/command-runs.ts'
import {
  DriverQuery,
  type QueryOptions,
  type QueryText,
  type Receiver,
} from '../../../src/pool/driver/query.ts'
import type { Line } from '../../../src/pool/driver/runs.ts'
import { SESSION_RESET } from '../../../src/pool/session-reset.ts'
import { rejectsLike } from '../../support/like.ts'

const TENANT = '0f0e0d0c-0b0a-4908-8706-050403020100'
const IDLE = { before: 'I', after: 'I' } as const
const ROWS: Rows = Object.assign([], { command: 'SELECT' })

interface Sent {
  readonly text: QueryText
  readonly receiver: Receiver
  readonly options: QueryOptions
}

/** A run that was sent on a connection on which nothing goes out: the test answers. */
function sent<R extends CommandRun>(make: (line: Line) => R) {
  const all: Sent[] = []
  const spent = { times: 0 }
  const line: Line = {
    maxResultBytes: 1_000_000,
    prepares: () => true,
    forget() {},
    spend: () => {
      spent.times += 1
    },
    send(text, receiver, options) {
      all.push({ text, receiver, options })
      return new DriverQuery(text, { settled() {} }, receiver, options)
    },
    sendAgain() {},
    cancel: async () => {},
    refusalOf: () => undefined,
  }
  const run = make(line)
  run.send()
  const texts = all.map(({ text, options }) => `${text.text} | ${options.expected}`)
  t.not(run.query, undefined, 'a cancel request can mean it')
  return { run, all, texts, spent }
}

for (const [command, binding, texts] of [
  ['begin', undefined, ['begin | ITE']],
  ['commit', undefined, ['commit | I']],
  ['rollback', undefined, ['rollback | I']],
  ['begin', TENANT, [`${SESSION_RESET} | I`, `begin; set local rls.tenant_id = '${TENANT}' | ITE`]],
  ['commit', TENANT, ['commit; reset all | I']],
  ['rollback', TENANT, ['rollback; reset all | I']],
] as const) {
  t.test(`${command} ${binding ? 'for a tenant' : 'by itself'}: what is sent`, async (t) => {
    t.strictSame(sent((line) => new TransactionRun(line, command, binding)).texts, texts)
  })

  t.test(`${command} ${binding ? 'for a tenant' : 'by itself'}: what its failure costs`, async (t) => {
    const { run, all, spent } = sent((line) => new TransactionRun(line, command, binding))
    const refused = new Error('refused')
    all.at(-1)?.receiver.failed(refused)
    await rejectsLike(t, run.result, refused)
    const isSpent = command !== 'begin' && binding !== undefined
    t.equal(spent.times, isSpent ? 1 : 0, 'where its reset may have failed, the session')
  })
}

t.test('a reset that failed before a BEGIN is what that fails with', async (t) => {
  for (const how of ['failed', 'stale'] as const) {
    const { run, all } = sent((line) => new TransactionRun(line, 'begin', TENANT))
    const refused = new Error('no reset')
    all[0]?.receiver[how](refused)
    all[1]?.receiver.answered(ROWS, { before: 'I', after: 'T' })
    await rejectsLike(t, run.result, refused)
  }
})

t.test('the end of a transaction is answered by what has become of it', async (t) => {
  for (const [command, before, expected] of [
    ['begin', 'I', 'BEGIN'],
    ['commit', 'T', 'COMMIT'],
    ['commit', 'E', 'ROLLBACK'],
    ['rollback', 'E', 'ROLLBACK'],
  ] as const) {
    const { run, all } = sent((line) => new TransactionRun(line, command, undefined))
    all[0]?.receiver.answered(ROWS, { before, after: 'I' })
    const rows = await run.result
    t.strictSame([[...rows], rows.command], [[], expected])
  }
})

t.test('a script may begin and end what it likes, and fails as the server says', async (t) => {
  const { run, all, texts } = sent((line) => new ScriptRun(line, 'select 1; select 2'))
  t.strictSame(texts, ['select 1; select 2 | ITE'])
  all[0]?.receiver.answered(ROWS, IDLE)
  t.equal(await run.result, ROWS)
  for (const how of ['failed', 'stale'] as const) {
    const other = sent((line) => new ScriptRun(line, 'select'))
    const refused = new Error('refused')
    other.all[0]?.receiver[how](refused)
    await rejectsLike(t, other.run.result, refused)
  }
})

/** A COPY, after the server has sent these chunks, or has asked for rows. */
function copying({ chunks = [], wantedRows = false }: { chunks?: string[]; wantedRows?: boolean }) {
  const scene = sent((line) => new CopyRun(line, 'copy', 'I'))
  t.strictSame(scene.texts, ['copy | I'])
  const { copied } = scene.all[0]?.options ?? {}
  if (copied === undefined) throw new Error('a COPY has a place for what is copied')
  for (const each of chunks) copied.chunks.push(Buffer.from(each))
  if (wantedRows) copied.wantedRows = true
  return scene
}

t.test('a COPY to the client is answered by its lines, wherever they were cut on their way', async (t) => {
  const { run, all } = copying({ chunks: ['1\n2', '2\n', '\n3\n'] })
  all[0]?.receiver.answered(ROWS, IDLE)
  const rows = await run.result
  t.strictSame([[...rows], rows.command], [[{ line: '1' }, { line: '22' }, { line: '3' }], 'COPY'])
})

t.test('a COPY that asked for rows and got none has ended well, and any other failure is one', async (t) => {
  const cancelled = Object.assign(new Error('COPY failed'), { code: '57014' })
  const other = Object.assign(new Error('no table'), { code: '42P01' })
  const { run, all } = copying({ wantedRows: true })
  all[0]?.receiver.failed(cancelled)
  const rows = await run.result
  t.strictSame([[...rows], rows.command, Reflect.get(rows, 'count')], [[], 'COPY', 1])
  for (const [wantedRows, error] of [
    [false, cancelled],
    [true, other],
    [false, other],
  ] as const) {
    const scene = copying({ wantedRows })
    scene.all[0]?.receiver.failed(error)
    await rejectsLike(t, scene.run.result, error)
  }
})
