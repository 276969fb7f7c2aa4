import t from 'tap'
import type { Ending } from '../../../src/servers/watchdog/policy.ts'
import { Told } from '../../../src/servers/watchdog/told.ts'

const LOGIN = `tb_${'0a'.repeat(16)}`
const BASE = {
  tenantId: '0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a',
  login: LOGIN,
  reason: 'locks',
  isOffence: true,
  facts: {},
} as const

function session(changes: { pid?: number; login?: string; startedAt?: string } = {}): Ending {
  const seen = { pid: 7, login: LOGIN, startedAt: '2026-01-01 00:00:00+00', ...changes }
  const quiet = { isIdle: false, transactionMs: 1, quietMs: 1, locks: 1, predicateLocks: 0 }
  return { ...BASE, target: { kind: 'session', session: { ...seen, ...quiet } } }
}

function prepared(changes: { gid?: string; database?: string } = {}): Ending {
  const seen = { gid: 'mine', database: 'app', ...changes }
  return {
    ...BASE,
    target: { kind: 'prepared', prepared: { ...seen, login: LOGIN, preparedMs: 1, locks: 1 } },
  }
}

function worker(changes: { pid?: number; startedAt?: string; work?: string } = {}): Ending {
  const seen = { pid: 7, startedAt: '2026-01-01 00:00:00+00', work: 'autovacuum: ANALYZE a.b', ...changes }
  const busy = { database: 'app', transactionMs: 1, isAnalyzing: true, isHeld: true }
  return { ...BASE, login: null, target: { kind: 'worker', worker: { ...seen, ...busy } } }
}

/** What was told of in a pass, and then is looked for in the next one. */
function isTold(before: Ending, now: Ending): boolean {
  const told = new Told()
  told.begin()
  told.add(before)
  told.begin()
  return told.has(now)
}

t.test('what was ended and is seen again is the same, whatever else is found of it', async (t) => {
  for (const make of [session, prepared, worker]) {
    t.equal(isTold(make(), make()), true)
    t.equal(isTold(make(), { ...make(), reason: 'blocking', facts: { locks: 2 } }), true)
  }
})

t.test('another process with the same number, and other work of the same one, is another', async (t) => {
  const later = '2026-01-01 00:00:01+00'
  for (const [before, now] of [
    [session(), session({ pid: 8 })],
    [session(), session({ startedAt: later })],
    [session({ startedAt: '' }), session({ startedAt: '', login: `tg_${'0b'.repeat(16)}` })],
    [prepared(), prepared({ gid: 'other' })],
    [prepared(), prepared({ database: 'other' })],
    [worker(), worker({ pid: 8 })],
    [worker(), worker({ startedAt: later })],
    [worker(), worker({ work: 'autovacuum: ANALYZE a.c' })],
    [worker(), session()],
  ] as const) {
    t.equal(isTold(before, now), false, JSON.stringify(now.target))
  }
})

t.test('what is still there is known from pass to pass, and what is gone is forgotten', async (t) => {
  const told = new Told()
  told.begin()
  t.equal(told.has(session()), false)
  told.add(session())
  for (let pass = 0; pass < 5; pass++) {
    told.begin()
    t.equal(told.has(session()), true, 'still there')
  }
  told.begin()
  told.begin()
  t.equal(told.has(session()), false, 'it was gone in between')
})

t.test('what could not be ended is told of when it is', async (t) => {
  const told = new Told()
  told.begin()
  t.equal(told.has(session()), false)
  told.begin()
  t.equal(told.has(session()), false)
})
