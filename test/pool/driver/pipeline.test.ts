import t from 'tap'
import { MessageReader } from '../../../src/pool/driver/message-reader.ts'
import { Pipeline } from '../../../src/pool/driver/pipeline.ts'
import { backendMessage, MESSAGE } from '../../../src/pool/driver/protocol.ts'
import { DriverQuery, type Expected } from '../../../src/pool/driver/query.ts'
import { errorCode } from '../../../src/pool/driver-errors.ts'

const COMPLETE = backendMessage(MESSAGE.commandComplete, Buffer.from('SELECT 1\0'))
const BOUND = backendMessage(MESSAGE.bindComplete)
const READY = ready('I')
const ANSWER = Buffer.concat([COMPLETE, READY])

function ready(status: string): Buffer {
  return backendMessage(MESSAGE.readyForQuery, Buffer.from(status))
}

/** A row whose values take this many bytes. */
function row(bytes: number): Buffer {
  return backendMessage(MESSAGE.dataRow, Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(bytes)]))
}

function refused(code: string): Buffer {
  return backendMessage(MESSAGE.errorResponse, Buffer.from(`SERROR\0VERROR\0C${code}\0Mno\0\0`))
}

const LOST = 'CONNECTION_CLOSED'

/** A pipeline whose driver does what the test says with what is delivered to it; by default it answers at each end. */
function setUp({ maxResultBytes = 10_000 } = {}) {
  const told: string[] = []
  const delivered: string[] = []
  const written: string[] = []
  const counts = { violations: 0, turns: 0 }
  const driver = {
    hear(bytes: Buffer): void {
      if (isEnd(bytes)) pipeline.head?.resolve([])
    },
  }
  const pipeline = new Pipeline({
    deliver(bytes) {
      delivered.push(bytes.toString('latin1'))
      driver.hear(bytes)
    },
    write: (bytes) => written.push(bytes.toString('latin1', 0, 1)),
    onViolation: () => {
      counts.violations += 1
    },
    onTurn: () => {
      counts.turns += 1
    },
    onNotify: undefined,
    onSetting() {},
    maxResultBytes,
  })
  const reader = new MessageReader(pipeline)

  function ask(name: string, expected: Expected = 'I'): DriverQuery {
    const tell = (how: string) => (error: Error) => {
      told.push(`${name} ${how}: ${errorCode(error) ?? error.message}`)
    }
    const receiver = {
      answered: (_rows: unknown, { before, after }: { before: string; after: string }) => {
        told.push(`${name} answered: ${before} to ${after}`)
      },
      failed: tell('failed'),
      stale: tell('stale'),
    }
    const query = new DriverQuery({ text: name, args: [], form: 'simple' }, pipeline, receiver, { expected })
    pipeline.add(query)
    return query
  }

  return {
    pipeline,
    driver,
    told,
    delivered,
    written,
    counts,
    ask,
    feed: (...all: Buffer[]) => reader.feed(Buffer.concat(all)),
  }
}

function isEnd(bytes: Buffer): boolean {
  return bytes.at(-6) === MESSAGE.readyForQuery
}

t.test('each answer goes to the statement whose turn it is', async (t) => {
  const { ask, feed, told, counts, pipeline } = setUp()
  ask('a', 'ITE')
  ask('b', 'TE')
  feed(COMPLETE, ready('T'), COMPLETE)
  t.strictSame(told, ['a answered: I to T'])
  feed(ready('T'))
  t.strictSame([told, counts], [['a answered: I to T', 'b answered: T to T'], { violations: 0, turns: 2 }])
  t.ok(pipeline.isEmpty)
})

for (const [what, act] of [
  [
    'settles a statement before anything has come',
    ({ ask }) => {
      const a = ask('a')
      ask('b')
      a.resolve([])
    },
  ],
  [
    'rejects a statement before anything has come',
    ({ ask }) => {
      ask('a').reject(new Error('by the driver'))
    },
  ],
  [
    'settles the statement behind the one that is answered',
    ({ ask, feed, driver }) => {
      ask('a')
      const b = ask('b')
      driver.hear = () => b.resolve([])
      feed(ANSWER)
    },
  ],
  [
    'settles both of two',
    ({ ask, feed, driver }) => {
      const [a, b] = [ask('a'), ask('b')]
      driver.hear = () => {
        a.resolve([])
        b.resolve([])
      }
      feed(ANSWER)
    },
  ],
  [
    'settles a statement twice',
    ({ ask, feed, driver }) => {
      const a = ask('a')
      driver.hear = () => {
        a.resolve([])
        a.reject(new Error('and again'))
      }
      feed(ANSWER)
    },
  ],
  [
    'settles no statement at the end of an answer',
    ({ ask, feed, driver }) => {
      ask('a')
      driver.hear = () => {}
      feed(ANSWER)
    },
  ],
  [
    'throws',
    ({ ask, feed, driver }) => {
      ask('a')
      driver.hear = () => {
        throw new TypeError('within the driver')
      }
      feed(ANSWER)
    },
  ],
  [
    'throws behind its last word',
    ({ ask, feed, driver }) => {
      const a = ask('a')
      driver.hear = () => {
        a.resolve([])
        throw new TypeError('within the driver')
      }
      feed(ANSWER)
    },
  ],
] as const satisfies readonly (readonly [string, (scene: ReturnType<typeof setUp>) => void])[]) {
  t.test(`a driver that ${what} costs the connection, and all that is on it fails`, async (t) => {
    const scene = setUp()
    act(scene)
    const { told, counts, pipeline, delivered, feed } = scene
    t.strictSame([...new Set(told.map((each) => each.slice(2)))], [`failed: ${LOST}`])
    t.equal(counts.violations, 1)
    t.ok(pipeline.isClosed)
    t.ok(pipeline.isEmpty)
    const before = [told.length, delivered.length]
    feed(ANSWER)
    t.strictSame([told.length, delivered.length], before, 'nothing more is read')
  })
}

t.test('a driver writes one request for each statement and nothing besides', async (t) => {
  const write = ({ pipeline }: ReturnType<typeof setUp>, types: string) =>
    [...types].map((type) => pipeline.wrote(type.charCodeAt(0)))
  for (const [asked, right, wrong] of [
    [0, '', 'P'],
    [0, '', 'Q'],
    [1, 'Q', 'Q'],
    [1, 'PBES', 'S'],
    [1, 'PDHBES', 'B'],
    [2, 'PDSQ', 'P'],
    [1, '', 'X'],
    [1, '', 'p'],
    [1, '', 'C'],
  ] as const) {
    const scene = setUp()
    for (let i = 0; i < asked; i++) scene.ask('a')
    t.strictSame(
      write(scene, right),
      [...right].map(() => true),
      `${asked}: ${right}`,
    )
    t.equal(scene.counts.violations, 0)
    t.strictSame(write(scene, wrong), [false], `${asked}: ${right} and then ${wrong}`)
    t.equal(scene.counts.violations, 1)
    t.strictSame(
      scene.told,
      Array.from({ length: asked }, () => `a failed: ${LOST}`),
    )
  }
})

for (const [what, bytes, outcomes] of [
  ['is ready before it has answered', [READY], ['a failed', 'b failed']],
  ['is ready a second time', [ANSWER, READY], ['a answered', 'b failed']],
  ['has bound what it then does not run', [ANSWER, BOUND, READY], ['a answered', 'b failed']],
  ['says more than it was asked', [ANSWER, ANSWER, COMPLETE], ['a answered', 'b answered']],
] as const) {
  t.test(`a server that ${what} is left`, async (t) => {
    const { ask, feed, told, counts, pipeline } = setUp()
    ask('a')
    ask('b')
    feed(...bytes)
    const full = { answered: 'answered: I to I', failed: `failed: ${LOST}` }
    t.strictSame(
      told,
      outcomes.map((each) => each.replace(/\w+$/, (how) => full[how as 'answered' | 'failed'])),
    )
    t.equal(counts.violations, 1)
    t.ok(pipeline.isClosed)
  })
}

t.test('what cannot be an answer is refused by its head, before a byte of it is kept', async (t) => {
  const MB = 1024 * 1024
  for (const [type, length, verdict] of [
    [MESSAGE.readyForQuery, 6, 'cut'],
    [MESSAGE.readyForQuery, 7, 'refuse'],
    [MESSAGE.rowDescription, MB, 'whole'],
    [MESSAGE.rowDescription, MB + 1, 'refuse'],
    ...[
      MESSAGE.noData,
      MESSAGE.parseComplete,
      MESSAGE.parameterDescription,
      MESSAGE.commandComplete,
      MESSAGE.emptyQuery,
    ].flatMap((type) => [[type, MB, 'pass'] as const, [type, MB + 1, 'refuse'] as const]),
    [MESSAGE.authentication, 9, 'refuse'],
    [MESSAGE.backendKeyData, 13, 'refuse'],
    [MESSAGE.copyIn, 9, 'refuse'],
    [MESSAGE.copyData, 9, 'refuse'],
    [0, 9, 'refuse'],
  ] as const) {
    const { ask, pipeline, counts, told } = setUp()
    ask('a')
    const isRefused = verdict === 'refuse'
    t.equal(pipeline.verdict(type, length, 0), verdict, `${type}, ${length} bytes`)
    t.strictSame([counts.violations, told.length], isRefused ? [1, 1] : [0, 0], `${type}, ${length} bytes`)
  }
})

t.test('not even a COPY goes in both directions', async (t) => {
  const { pipeline, counts, written } = setUp()
  const receiver = { answered() {}, failed() {}, stale() {} }
  const copied = { chunks: [], wantedRows: false }
  const text = { text: 'copy', args: [], form: 'simple' } as const
  pipeline.add(new DriverQuery(text, pipeline, receiver, { expected: 'I', copied }))
  t.equal(pipeline.verdict(MESSAGE.copyIn, 9, 0), 'drop')
  t.strictSame([written, copied.wantedRows], [['f'], true])
  t.equal(pipeline.verdict(MESSAGE.copyBoth, 9, 0), 'refuse')
  t.equal(counts.violations, 1)
})

t.test('a statement that leaves another status than it may is told so, and no other', async (t) => {
  for (const [expected, status] of [
    ['I', 'T'],
    ['I', 'E'],
    ['TE', 'I'],
  ] as const) {
    const { ask, feed, told, counts } = setUp()
    ask('a', expected)
    ask('b')
    feed(COMPLETE, ready(status))
    t.strictSame(told, [
      'a failed: The statement began or ended a transaction by itself; use db.transaction() instead. Its connection was dropped.',
      `b failed: ${LOST}`,
    ])
    t.equal(counts.violations, 1)
  }
})

t.test('of what one answer was nothing is left for the next one', async (t) => {
  const { ask, feed, told, driver, pipeline, delivered } = setUp({ maxResultBytes: 1000 })
  const reject = (name: string) => {
    driver.hear = (bytes) => {
      if (isEnd(bytes)) {
        const { head } = pipeline
        if (head !== undefined) head.retried = Object.assign(new Error(name), { code: name })
      }
    }
  }
  const usual = driver.hear
  for (const name of ['a', 'b', 'c', 'd', 'e']) ask(name)
  // Each is below the limit, both together are not.
  feed(BOUND, row(600), ANSWER)
  feed(row(600), ANSWER)
  t.strictSame(told.splice(0), ['a answered: I to I', 'b answered: I to I'])
  const rows = delivered.length
  feed(row(1000), ANSWER)
  t.strictSame(told.splice(0), ['c failed: RESULT_TOO_LARGE'])
  t.strictSame(delivered.slice(rows), [ANSWER.toString('latin1')], 'its row went nowhere')
  // One that was bound before does not count: this one has not run.
  reject('26000')
  feed(refused('26000'), READY)
  t.strictSame(told.splice(0), ['d stale: 26000'])
  driver.hear = usual
  t.equal(pipeline.close().cause, undefined, 'an error that was answered is not why the connection ends')
  t.strictSame(told, [`e failed: ${LOST}`])
})

t.test('a plan that went stale after the statement had begun to run is a failure of its own', async (t) => {
  const { ask, feed, told, driver, pipeline } = setUp()
  driver.hear = (bytes) => {
    const { head } = pipeline
    if (isEnd(bytes) && head !== undefined) head.retried = Object.assign(new Error('no'), { code: '26000' })
  }
  const a = ask('a')
  feed(BOUND, refused('26000'), READY)
  t.strictSame(told, ['a failed: 26000'])
  t.equal(a.cancelled, true, 'the driver does not send it again')
})

t.test('only the statement that is answered is refused for its size', async (t) => {
  const { ask, feed, pipeline } = setUp({ maxResultBytes: 1000 })
  const [a, b] = [ask('a'), ask('b')]
  feed(row(1000))
  t.equal(pipeline.refusalOf(a)?.code, 'RESULT_TOO_LARGE')
  t.equal(pipeline.refusalOf(b), undefined)
})

t.test('the limit of an answer counts rows and values besides their text', async (t) => {
  // 64 for each row, 16 for each value, and its message: 7 bytes of head, 4 for each length of a value.
  const one = 64 + 16 + 7 + 4
  const value = Buffer.concat([Buffer.from([0, 1]), Buffer.from([0, 0, 0, 0])])
  const rows = Array.from({ length: 10 }, () => backendMessage(MESSAGE.dataRow, value))
  for (const [maxResultBytes, outcome] of [
    [10 * one, 'a answered: I to I'],
    [10 * one - 1, 'a failed: RESULT_TOO_LARGE'],
  ] as const) {
    const { ask, feed, told } = setUp({ maxResultBytes })
    ask('a')
    feed(...rows, ANSWER)
    t.strictSame(told, [outcome])
  }
})

t.test(
  'an error that answers no statement is why the connection ends, and no matter of the driver',
  async (t) => {
    const { ask, feed, told, delivered, pipeline, counts } = setUp()
    feed(refused('57P01'))
    t.strictSame([delivered, counts.violations], [[], 0])
    ask('a')
    t.equal(errorCode(pipeline.close(new Error('socket')).cause), '57P01')
    t.strictSame(told, [`a failed: ${LOST}`])
  },
)

t.test('what comes after the end is not read, and changes nothing', async (t) => {
  const { ask, told, pipeline, counts } = setUp()
  ask('a')
  t.not(pipeline.verdict(MESSAGE.dataRow, 9, 1), 'refuse')
  pipeline.close()
  for (const type of [MESSAGE.dataRow, MESSAGE.notice, MESSAGE.readyForQuery]) {
    t.equal(pipeline.verdict(type, 9, 1), 'refuse')
  }
  pipeline.violated('something else')
  t.strictSame([told, counts.violations], [[`a failed: ${LOST}`], 0])
})
