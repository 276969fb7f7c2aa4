import { randomUUID } from 'node:crypto'
import t from 'tap'
import { loginName, spaceName } from '../../../src/placement/tenant-names.ts'
import { decide, isRoomy, type WatchLimits } from '../../../src/servers/watchdog/policy.ts'
import type {
  AutovacuumWorker,
  Blocker,
  PreparedTransaction,
  Sight,
  TenantSession,
  Wait,
} from '../../../src/servers/watchdog/sight.ts'

const LIMITS: WatchLimits = {
  lockPart: 1 / 8,
  blockingMs: 2_000,
  requestMs: 15_000,
  transactionMs: 600_000,
  sessionPart: 0.1,
  poolSessions: 4,
  nodes: 2,
}

const [ada, bob, eve] = [randomUUID(), randomUUID(), randomUUID()]
const [adas, bobs, eves] = [loginName(ada, 'blue'), loginName(bob, 'blue'), loginName(eve, 'blue')]

let pid = 0
function session(login: string, fields: Partial<TenantSession> = {}): TenantSession {
  pid += 1
  return {
    pid,
    startedAt: '2026-01-01 00:00:00+00',
    login,
    isIdle: true,
    transactionMs: null,
    quietMs: 10,
    locks: 0,
    predicateLocks: 0,
    ...fields,
  }
}

function prepared(login: string, fields: Partial<PreparedTransaction> = {}): PreparedTransaction {
  return { gid: 'left', login, database: 'postgres', preparedMs: 10, locks: 0, ...fields }
}

function worker(fields: Partial<AutovacuumWorker> = {}): AutovacuumWorker {
  pid += 1
  return {
    pid,
    startedAt: '2026-01-01 00:00:00+00',
    database: 'postgres',
    work: `autovacuum: ANALYZE ${spaceName(eve)}.mean`,
    transactionMs: 5_000,
    isAnalyzing: true,
    isHeld: true,
    ...fields,
  }
}

function sight(fields: Partial<Sight> = {}): Sight {
  return {
    lockSize: 6_400,
    predicateSize: 6_400,
    predicatesKept: 0,
    locksPerOwner: 64,
    locks: 0,
    isInTheWay: false,
    slots: { open: 100, used: 10 },
    notifyUsage: 0,
    notifyMs: 0,
    hasWaits: true,
    sessions: [],
    prepared: [],
    workers: [],
    ...fields,
  }
}

function blocker({ pid }: { readonly pid: number }, fields: Partial<Blocker> = {}): Blocker {
  return { pid, gid: null, held: ['ExclusiveLock'], wanted: [], ...fields }
}

function wait(
  login: string | null,
  by: Blocker,
  fields: Partial<Omit<Wait, 'login' | 'blockers'>> = {},
): Wait {
  pid += 1
  return {
    pid,
    login,
    locktype: 'transactionid',
    mode: 'ShareLock',
    waitedMs: 2_000,
    isCatalogRow: false,
    isCatalogKey: false,
    blockers: [by],
    ...fields,
  }
}

/** What was decided: of which target, why, and whether it is an offence. */
function decided(seen: Sight, waits: readonly Wait[] = [], limits: Partial<WatchLimits> = {}) {
  return decide(seen, waits, { ...LIMITS, ...limits }).map(({ isOffence, reason, target }) => [
    target.kind === 'session'
      ? target.session.pid
      : target.kind === 'prepared'
        ? target.prepared.gid
        : 'worker',
    reason,
    isOffence,
  ])
}

t.test('a login may have its part of the locks, over all sessions and prepared transactions', async (t) => {
  const [one, other] = [session(eves, { locks: 400 }), session(eves, { locks: 400 })]
  t.strictSame(decided(sight({ sessions: [one, other] })), [])
  const [big, small] = [session(eves, { locks: 401 }), session(eves, { locks: 400 })]
  const neighbour = session(adas, { locks: 800 })
  t.strictSame(decided(sight({ sessions: [small, big, neighbour] })), [[big.pid, 'locks', true]])
  t.strictSame(decided(sight({ sessions: [small], prepared: [prepared(eves, { locks: 500 })] })), [
    ['left', 'locks', true],
  ])
  t.strictSame(decided(sight({ sessions: [session(eves, { predicateLocks: 801 })] })), [
    [pid, 'predicate-locks', true],
  ])
})

t.test(
  'predicate locks of what has committed are the fault of the oldest transaction, and no offence',
  async (t) => {
    const [young, serializable, oldest, oldestOfAll] = [
      session(adas, { predicateLocks: 5, transactionMs: 999 }),
      session(adas, { predicateLocks: 5, transactionMs: 1_000 }),
      session(eves, { predicateLocks: 1, transactionMs: 1_001 }),
      session(eves, { transactionMs: 1_002 }),
    ]
    const sessions = [young, serializable, oldest, oldestOfAll]
    t.strictSame(decided(sight({ sessions, predicatesKept: 3_200 })), [])
    t.strictSame(decided(sight({ sessions, predicatesKept: 3_201 })), [
      [oldest.pid, 'predicate-locks', false],
    ])
    t.strictSame(decided(sight({ sessions: [young, oldestOfAll], predicatesKept: 3_201 })), [
      [oldestOfAll.pid, 'predicate-locks', false],
    ])
    t.strictSame(decided(sight({ sessions: [young], predicatesKept: 3_201 })), [])
  },
)

t.test("of two that lock an object, the one that asks for what is another tenant's is guilty", async (t) => {
  const [good, mean] = [session(adas), session(eves)]
  const sessions = [good, mean]
  const object = { locktype: 'object', mode: 'AccessExclusiveLock' }
  const asks = { ...wait(eves, blocker(good, { held: ['AccessShareLock'] }), object), pid: mean.pid }
  t.strictSame(decided(sight({ sessions }), [asks]), [])
  const behind = wait(adas, blocker(mean, { held: [], wanted: ['AccessExclusiveLock'] }), {
    ...object,
    mode: 'AccessShareLock',
  })
  t.strictSame(decided(sight({ sessions }), [asks, behind]), [[mean.pid, 'blocking', true]])
  // Its owner removes it, and waits for no one else.
  t.strictSame(
    decided(sight({ sessions }), [wait(eves, blocker(good, { held: ['AccessExclusiveLock'] }), object)]),
    [],
  )
})

t.test(
  'all together may have half of the locks; only who has more than a session may is guilty',
  async (t) => {
    const five = [1, 2, 3, 4, 5].map((more) =>
      session(loginName(randomUUID(), 'blue'), { locks: 700 + more }),
    )
    t.strictSame(decided(sight({ sessions: five })), [[five[4]?.pid, 'locks', true]])
    const many = Array.from({ length: 54 }, () => session(loginName(randomUUID(), 'blue'), { locks: 60 }))
    t.strictSame(decided(sight({ sessions: many })), [[many[0]?.pid, 'locks', false]])
    const ownMany = [session(bobs, { locks: 61 }), session(bobs, { locks: 61 })]
    t.strictSame(
      decided(sight({ sessions: [...many.slice(2), ...ownMany] })),
      [[ownMany[0]?.pid, 'locks', false]],
      'each session may have as many',
    )
  },
)

t.test('a login that has too many is guilty, be they spread over ever so many sessions', async (t) => {
  const spread = Array.from({ length: 14 }, () => session(eves, { locks: 60 }))
  t.strictSame(decided(sight({ sessions: spread })), [[spread[0]?.pid, 'locks', true]])
})

t.test('whose fault a wait is', async (t) => {
  const relation = { locktype: 'relation', mode: 'RowExclusiveLock' }
  const strong = { held: ['AccessExclusiveLock'] }
  const rows = { held: ['AccessShareLock', 'RowExclusiveLock'] }
  /** [what, who waits, how, by what, the age of the blocker's transaction, whether it is ended] */
  const cases: readonly (readonly [
    string,
    string | null,
    Partial<Omit<Wait, 'login' | 'blockers'>>,
    Partial<Blocker>,
    number,
    boolean,
  ])[] = [
    ['a strong lock of a table, for a tenant', adas, relation, strong, 0, true],
    ['for an administrator', 'postgres', relation, strong, 0, true],
    ['for a process without a login', null, relation, strong, 0, true],
    ['for too short a time', adas, { ...relation, waitedMs: 1_999 }, strong, 0, false],
    ['for its own tenant', loginName(eve, 'green'), relation, strong, 0, false],
    ['one that is only asked for', adas, relation, { held: [], wanted: ['AccessExclusiveLock'] }, 0, true],
    ['one that does not conflict', adas, relation, { held: ['ShareUpdateExclusiveLock'] }, 0, false],
    [
      'ordinary locks, for a tenant who wants a strong one',
      adas,
      { ...relation, mode: 'AccessExclusiveLock' },
      rows,
      599_000,
      false,
    ],
    [
      'ordinary locks of a request, for an administrator',
      'postgres',
      { ...relation, mode: 'AccessExclusiveLock' },
      rows,
      14_999,
      false,
    ],
    [
      'ordinary locks of an old transaction, for an administrator',
      'postgres',
      { ...relation, mode: 'AccessExclusiveLock' },
      rows,
      15_000,
      true,
    ],
    [
      'ordinary locks that do not conflict, of an old transaction',
      'postgres',
      { ...relation, mode: 'ShareUpdateExclusiveLock' },
      rows,
      599_000,
      false,
    ],
    [
      'the weakest lock that no statement of rows takes',
      'postgres',
      { ...relation, mode: 'ShareUpdateExclusiveLock' },
      { held: ['ShareUpdateExclusiveLock'] },
      0,
      true,
    ],
    ['a lock of a mode that is not known', 'postgres', relation, { held: ['NewLock'] }, 0, true],
    ['an object', 'postgres', { locktype: 'object' }, {}, 0, true],
    ['the commit of a notification', adas, { locktype: 'notify' }, {}, 0, false],
    ['a row of the catalog', 'postgres', { isCatalogRow: true }, {}, 0, true],
    ['a key of the catalog, for an administrator', 'postgres', { isCatalogKey: true }, {}, 0, true],
    ['a key of the catalog, for a tenant', adas, { isCatalogKey: true }, {}, 0, false],
    ['a row, of a request', adas, {}, {}, 14_999, false],
    ['a row, of an old transaction', adas, {}, {}, 15_000, true],
    ['a row that has been waited for as long', adas, { waitedMs: 15_000 }, {}, 0, true],
    ['a key of advisory locks, for a tenant', adas, { locktype: 'advisory' }, {}, 599_000, false],
    ['a key of advisory locks, for an administrator', 'postgres', { locktype: 'advisory' }, {}, 15_000, true],
    ['a transaction, for a tenant', adas, { locktype: 'virtualxid' }, {}, 599_000, false],
    ['a transaction, for an administrator', 'postgres', { locktype: 'virtualxid' }, {}, 15_000, true],
    ['a lock of another kind, of a request', adas, { locktype: 'extend' }, {}, 0, false],
    ['a lock of another kind, of an old transaction', adas, { locktype: 'extend' }, {}, 15_000, true],
  ]
  for (const [what, login, how, by, transactionMs, isEnded] of cases) {
    const eveSession = session(eves, { isIdle: false, transactionMs })
    t.strictSame(
      decided(sight({ sessions: [eveSession] }), [wait(login, blocker(eveSession, by), how)]),
      isEnded ? [[eveSession.pid, 'blocking', true]] : [],
      what,
    )
  }
  const left = prepared(eves, { preparedMs: 2_000 })
  t.strictSame(
    decided(sight({ prepared: [left] }), [
      wait('postgres', blocker({ pid: 0 }, { gid: 'left' }), { isCatalogRow: true }),
    ]),
    [['left', 'blocking', true]],
  )
  for (const [preparedMs, isEnded] of [
    [14_999, false],
    [15_000, true],
  ] as const) {
    const row = prepared(eves, { preparedMs })
    t.strictSame(
      decided(sight({ prepared: [row] }), [wait(adas, blocker({ pid: 0 }, { gid: 'left' }))]),
      isEnded ? [['left', 'blocking', true]] : [],
      `a row that was prepared ${preparedMs} ms ago`,
    )
  }
  t.strictSame(
    decided(sight(), [wait('postgres', blocker({ pid: 4_000 }), relation)]),
    [],
    'who is no tenant',
  )
})

t.test(
  'a neighbour that is held up is not guilty of what waits for it; who is held up by its own is',
  async (t) => {
    const [bobSession, eveSession, eveOther] = [
      session(bobs, { transactionMs: 20_000 }),
      session(eves, { transactionMs: 20_000 }),
      session(eves, { transactionMs: 100 }),
    ]
    const seen = sight({ sessions: [bobSession, eveSession, eveOther] })
    const onBob = wait(eves, blocker(bobSession))
    const bobsWait = { ...wait(bobs, blocker(eveSession), { locktype: 'advisory' }), pid: bobSession.pid }
    t.strictSame(decided(seen, [onBob]), [[bobSession.pid, 'blocking', true]])
    t.strictSame(decided(seen, [onBob, bobsWait]), [])
    t.strictSame(
      decided(seen, [{ ...onBob, login: 'postgres' }, bobsWait]),
      [[bobSession.pid, 'blocking', true]],
      'an administrator waits for no one',
    )
    t.strictSame(
      decided(seen, [onBob, wait(adas, blocker(eveSession), { locktype: 'advisory' })]),
      [[bobSession.pid, 'blocking', true]],
      'that others are held up is no excuse',
    )
    const bobsWaitFor = (by: Blocker) => ({ ...wait(bobs, by), pid: bobSession.pid })
    t.strictSame(
      decided(seen, [onBob, bobsWaitFor(blocker({ pid: 4_000 }))]),
      [],
      'who is held up by no tenant',
    )
    for (const [login, isEnded] of [
      [eves, false],
      [bobs, true],
    ] as const) {
      const withPrepared = { ...seen, prepared: [prepared(login)] }
      t.strictSame(
        decided(withPrepared, [onBob, bobsWaitFor(blocker({ pid: 0 }, { gid: 'left' }))]),
        isEnded ? [[bobSession.pid, 'blocking', true]] : [],
        isEnded ? 'by what was prepared by its own tenant' : 'by what another tenant has prepared',
      )
    }
    const evesWait = { ...wait(eves, blocker(eveOther), { locktype: 'advisory' }), pid: eveSession.pid }
    t.strictSame(decided(seen, [wait(bobs, blocker(eveSession)), evesWait]), [
      [eveSession.pid, 'blocking', true],
    ])
  },
)

t.test('an analysis of a tenant that is held is stopped, and one that takes too long', async (t) => {
  const cases: readonly (readonly [string, Partial<AutovacuumWorker>, boolean])[] = [
    ['held', {}, true],
    ['for too short a time', { transactionMs: 1_999 }, false],
    ['at work', { isHeld: false }, false],
    ['at work for too long', { isHeld: false, transactionMs: 300_000 }, true],
    ['at VACUUM, however long', { isAnalyzing: false, isHeld: false, transactionMs: 3_000_000 }, false],
    [
      'in the database of a tenant',
      { database: spaceName(eve), work: 'autovacuum: VACUUM ANALYZE app.x' },
      true,
    ],
    ['of a shared table', { work: 'autovacuum: ANALYZE public.users' }, false],
    [
      'of a schema that is named nearly like one',
      { work: `autovacuum: ANALYZE ${spaceName(eve)}_old.x` },
      false,
    ],
    ['of one that ends like one', { work: `autovacuum: ANALYZE old_${spaceName(eve)}.x` }, false],
    ['of a table that is named like one', { work: `autovacuum: ANALYZE public.${spaceName(eve)}` }, false],
    ['that this administrator may not see', { work: '<insufficient privilege>' }, false],
  ]
  for (const [what, fields, isEnded] of cases) {
    t.strictSame(
      decided(sight({ workers: [worker(fields)] })),
      isEnded ? [['worker', 'autovacuum', true]] : [],
      what,
    )
  }
})

t.test(
  'a queue of notifications that fills ends the oldest transaction, which is proven guilty later',
  async (t) => {
    const old = session(eves, { transactionMs: 9_000 })
    const young = session(bobs, { transactionMs: 8_000 })
    const seen = { sessions: [young, old, session(adas)], notifyUsage: 0.11 }
    t.strictSame(decided(sight(seen)), [[old.pid, 'notify', false]])
    t.strictSame(decided(sight({ ...seen, notifyUsage: 0.1 })), [])
    t.strictSame(decided(sight({ ...seen, notifyMs: 9_000 })), [[old.pid, 'notify', false]])
    t.strictSame(decided(sight({ ...seen, notifyMs: 9_001 })), [], 'it has begun since the queue has filled')
    t.strictSame(decided(sight({ ...seen, sessions: [session(bobs, { transactionMs: 999 })] })), [])
  },
)

t.test('old transactions are ended, whether a session or nothing has them, but for migrations', async (t) => {
  const old = session(eves, { transactionMs: 600_001 })
  const migrator = session(`tm_${eve.replaceAll('-', '')}_0a`, { transactionMs: 3_000_000 })
  const seen = sight({
    sessions: [
      old,
      migrator,
      session(adas, { transactionMs: 600_000 }),
      session(bobs, { quietMs: 3_000_000 }),
    ],
    prepared: [prepared(bobs, { preparedMs: 600_001 }), prepared(adas, { gid: 'new', preparedMs: 600_000 })],
  })
  t.strictSame(decided(seen), [
    [old.pid, 'transaction', true],
    ['left', 'transaction', true],
  ])
})

t.test('when places become few, sessions go from the logins with most, the idle first', async (t) => {
  const eight = Array.from({ length: 9 }, (_, index) =>
    session(eves, index < 2 ? { isIdle: false, quietMs: 14_000 } : { quietMs: 1_000 - index }),
  )
  const four = Array.from({ length: 4 }, () => session(adas, { quietMs: 14_999 }))
  const sessions = [...four, ...eight]
  t.strictSame(decided(sight({ sessions, slots: { open: 100, used: 90 } })), [])
  t.strictSame(decided(sight({ sessions, slots: { open: 100, used: 92 } })), [
    [eight[2]?.pid, 'sessions', true],
    [eight[3]?.pid, 'sessions', true],
  ])
  t.equal(
    decided(sight({ sessions, slots: { open: 100, used: 100 } })).length,
    5,
    'what the service opens from one node stays',
  )
  t.strictSame(
    decided(sight({ sessions: eight.slice(0, 8), slots: { open: 100, used: 91 } })),
    [[eight[2]?.pid, 'sessions', false]],
    'two nodes of the service may have opened them',
  )
  t.strictSame(
    decided(sight({ sessions: [session(eves)], slots: { open: 20, used: 16 } }), [], {
      poolSessions: 0,
      nodes: 1,
    }),
    [[pid, 'sessions', true]],
    'five are free at least',
  )
})

t.test(
  'when no login has too many, sessions go that did nothing for longer than a request takes',
  async (t) => {
    const logins = [adas, bobs, eves].map((login, index) => session(login, { quietMs: 15_000 + index }))
    const migrator = session(`tm_${eve.replaceAll('-', '')}_0a`, { quietMs: 99_000 })
    const unknown = session(eves, { quietMs: null })
    const sessions = [...logins, migrator, unknown, session(bobs, { quietMs: 14_999 })]
    t.strictSame(decided(sight({ sessions, slots: { open: 100, used: 92 } })), [
      [logins[2]?.pid, 'sessions', false],
      [logins[1]?.pid, 'sessions', false],
    ])
    t.equal(decided(sight({ sessions, slots: { open: 100, used: 100 } })).length, 3)
  },
)

t.test('what is ended has given its place back, and is there once', async (t) => {
  const both = session(eves, { locks: 801, transactionMs: 700_000, quietMs: 20_000 })
  const seen = sight({
    sessions: [both, session(adas, { quietMs: 20_000 })],
    slots: { open: 100, used: 91 },
  })
  t.strictSame(decided(seen), [[both.pid, 'locks', true]])
})

t.test('the table of locks is roomy below a quarter', async (t) => {
  t.strictSame(
    [1_599, 1_600].map((locks) => isRoomy({ lockSize: 6_400, locks })),
    [true, false],
  )
})
