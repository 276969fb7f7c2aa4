import { Writable } from 'node:stream'
import t from 'tap'
import { migrateView } from '../../src/cli/migrate-view.ts'
import type { FleetReport, FleetTenant, Outcome } from '../../src/fleet/fleet.ts'
import { includes, like } from '../support/like.ts'

class Text extends Writable {
  text = ''
  readonly isTTY: boolean

  constructor(isTTY: boolean) {
    super()
    this.isTTY = isTTY
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8')
    done()
  }
}

function open(isInteractive: boolean, isJson = false) {
  const stdout = new Text(false)
  const stderr = new Text(isInteractive)
  const { signal } = new AbortController()
  return {
    stdout,
    stderr,
    view: migrateView({ stdout, stderr, signal, isInteractive, environment: {} }, isJson),
  }
}

const TENANT: FleetTenant = {
  id: '6f1f6f7e-7a0c-4d0e-9d5c-3f1f6f7e7a0c',
  name: 'Acme',
  namespace: 'eu',
  placement: 'schema',
  server: 'one',
}
const DONE: Outcome = { state: 'done', attempts: 1, error: null, ran: ['000002-notes'], ms: 12 }
const FAILED: Outcome = { state: 'failed', attempts: 5, error: '55P03', ran: [], ms: 12 }
const COUNTS = { pending: 3, done: 0, failed: 0, skipped: 0 }
const BEGIN = {
  kind: 'begin',
  runId: 'run',
  target: 2,
  resumed: false,
  counts: COUNTS,
  failuresAllowed: 0,
} as const
const REPORT: FleetReport = {
  runId: 'run',
  target: 2,
  state: 'stopped',
  reason: 'failures',
  counts: { pending: 1, done: 1, failed: 1, skipped: 0 },
  failures: [{ id: TENANT.id, name: 'Acme', error: '55P03', attempts: 5 }],
  ms: 2_340,
}

t.test('a log has a line for what matters, and the report says what to do next', async (t) => {
  const { stderr, stdout, view } = open(false)
  view.event(BEGIN)
  view.event({ kind: 'server', server: 'one', outcome: DONE })
  view.event({ kind: 'wave', canary: true, number: 1, size: 1 })
  view.event({ kind: 'tenant', tenant: TENANT, canary: true, outcome: DONE })
  view.event({ kind: 'wave', canary: false, number: 1, size: 2 })
  view.event({ kind: 'retry', name: 'Acme', error: '55P03', waitMs: 1_234 })
  view.event({ kind: 'tenant', tenant: TENANT, canary: false, outcome: FAILED })
  view.event({ kind: 'tenant', tenant: TENANT, canary: false, outcome: { ...DONE, state: 'skipped' } })
  view.event({ kind: 'stopping', reason: 'failures', underWay: 2 })
  view.close()
  view.report(REPORT)
  t.strictSame(stderr.text.split('\n'), [
    'Tenants to be brought to version 2: 3; 0 may fail.',
    'shared tables of one: 000002-notes',
    'canaries: 1',
    'wave 1: 2',
    'Acme: 55P03, again in 1.2 s',
    'eu/Acme: failed, 55P03 after 5 tries',
    'eu/Acme: skipped, it has been deleted',
    'stopping: more tenants failed than --max-failures allows; 2 under way will end',
    '',
  ])
  includes(t, stdout.text, 'Stopped after 2.3 s: more tenants failed than --max-failures allows.')
  includes(t, stdout.text, '1 migrated, 1 failed, 1 not done.')
  includes(t, stdout.text, `Acme (${TENANT.id}): 55P03 after 5 tries`)
  includes(t, stdout.text, 'held a lock for longer than --lock-timeout-ms')
  includes(t, stdout.text, 'run the same command again')
})

t.test('a run that goes on says how many are left, and why one that was stopped did', async (t) => {
  const { stderr, stdout, view } = open(false)
  view.event({ ...BEGIN, resumed: true, counts: { ...COUNTS, done: 9 } })
  view.close()
  t.equal(stderr.text, 'Going on where it stopped; tenants that are left: 3 of 12.\n')
  const reasons = {
    canary: 'a canary failed',
    server: 'the shared tables of a data server could not be migrated',
    interrupted: 'it was asked to stop',
    'taken over': 'another process may go on with it',
    incomplete: 'not all could be migrated',
  } as const
  for (const reason of ['canary', 'server', 'interrupted', 'taken over', 'incomplete'] as const) {
    stdout.text = ''
    view.report({ ...REPORT, reason, failures: [], counts: { ...COUNTS, skipped: 2 } })
    includes(t, stdout.text, reasons[reason])
    includes(t, stdout.text, ', 2 deleted meanwhile.')
    t.match(stdout.text, /un the same command again/)
  }
  stdout.text = ''
  const mismatch = { id: 'one', name: 'shared tables of one', error: 'MIGRATION_MISMATCH', attempts: 1 }
  view.report({ ...REPORT, reason: 'server', failures: [mismatch] })
  includes(t, stdout.text, 'Put the changed file back.')
})

t.test('a run that is through says so in one line', async (t) => {
  const { stdout, view } = open(false)
  view.report({ ...REPORT, state: 'finished', reason: null, counts: { ...COUNTS, pending: 0, done: 3 } })
  view.close()
  t.equal(stdout.text, 'Every tenant is at version 2: 3 migrated, in 2.3 s.\n')
})

t.test('somebody who watches sees a bar, and above it what matters', async (t) => {
  const { stderr, stdout, view } = open(true)
  view.event(BEGIN)
  view.event({ kind: 'tenant', tenant: TENANT, canary: false, outcome: DONE })
  view.event({ kind: 'tenant', tenant: TENANT, canary: false, outcome: FAILED })
  view.close()
  view.close()
  includes(t, stderr.text, '66% 2/3 tenants, 1 failed')
  includes(t, stderr.text, 'eu/Acme: failed, 55P03 after 5 tries')
  t.equal(stdout.text, '')
})

t.test('programs get a line of JSON for each event', async (t) => {
  const { stderr, stdout, view } = open(false, true)
  view.event(BEGIN)
  view.event({ kind: 'server', server: 'one', outcome: DONE })
  view.event({ kind: 'wave', canary: false, number: 1, size: 2 })
  view.event({ kind: 'retry', name: 'Acme', error: '55P03', waitMs: 1_234 })
  view.event({ kind: 'tenant', tenant: TENANT, canary: false, outcome: FAILED })
  view.event({ kind: 'stopping', reason: 'interrupted', underWay: 0 })
  view.preview({ server: 'one', tenant: undefined, wouldRun: [], error: null })
  view.preview({ server: 'one', tenant: TENANT, wouldRun: ['000002-notes'], error: null })
  view.report(REPORT)
  view.close()
  t.equal(stderr.text, '')
  like(
    t,
    stdout.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [
      { event: 'begin', run: 'run', target: 2, resumed: false, counts: COUNTS, failures_allowed: 0 },
      { event: 'server', server: 'one', state: 'done', ran: ['000002-notes'] },
      { event: 'wave', canary: false, number: 1, size: 2 },
      { event: 'retry', name: 'Acme', error: '55P03', wait_ms: 1_234 },
      { event: 'tenant', tenant: TENANT.id, state: 'failed', error: '55P03', attempts: 5 },
      { event: 'stopping', reason: 'interrupted', under_way: 0 },
      { event: 'preview', server: 'one', would_run: [], error: null },
      { event: 'preview', server: 'one', tenant: TENANT.id, would_run: ['000002-notes'], error: null },
      { event: 'report', run: 'run', state: 'stopped', reason: 'failures', counts: REPORT.counts },
    ],
  )
})

t.test('a dry run in words tells what would run, and what cannot be told', async (t) => {
  const { stdout, view } = open(false)
  view.preview({ server: 'one', tenant: undefined, wouldRun: [], error: null })
  view.preview({ server: 'one', tenant: TENANT, wouldRun: ['000002-a', '000003-b'], error: null })
  view.preview({ server: 'one', tenant: TENANT, wouldRun: [], error: 'SERVER_UNAVAILABLE' })
  view.close()
  t.strictSame(stdout.text.split('\n'), [
    'shared tables of one: nothing to do',
    'eu/Acme on one: would run 000002-a, 000003-b',
    'eu/Acme on one: cannot be told, SERVER_UNAVAILABLE',
    '',
  ])
})
