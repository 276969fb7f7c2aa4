import { EventEmitter, once } from 'node:events'
import t from 'tap'
import { ConfigError } from '../../src/config.ts'
import { createLogger } from '../../src/http/logger.ts'
import { SweepJob } from '../../src/ops/sweep-job.ts'
import type { SweepReport } from '../../src/pool/contract.ts'
import { like, throwsLike } from '../support/like.ts'

const EMPTY: SweepReport = {
  dryRun: false,
  startedAt: 0,
  durationMs: 0.5,
  resident: 2,
  idle: 1,
  evicted: [],
  connectionsClosed: 0,
}
const EVICTED: SweepReport = {
  ...EMPTY,
  evicted: [{ tenantId: 't', reason: 'idle', idleMs: 1, connections: 1, why: 'It is idle.' }],
}

// The job's own timers do not keep the process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

function makeJob(cron: string, sweep: () => SweepReport) {
  const lines: string[] = []
  const turns: number[] = []
  const { logger } = createLogger('info', { write: (line) => lines.push(line) })
  const onTurn = (failures: number) => turns.push(failures)
  return { job: new SweepJob({ cron, pools: { sweep }, logger, onTurn }), lines, turns }
}

t.test('it sweeps on schedule, and logs a sweep that took something', async (t) => {
  const swept = new EventEmitter()
  const reports = [EMPTY, EVICTED]
  const { job, lines } = makeJob('* * * * * *', () => {
    const report = reports.shift() ?? EMPTY
    setImmediate(() => swept.emit('sweep'))
    return report
  })
  t.teardown(() => job.stop())
  job.start()
  await once(swept, 'sweep')
  t.strictSame(lines, [], 'nothing to say about a sweep that took nothing')
  await once(swept, 'sweep')
  like(t, JSON.parse(lines[0] ?? ''), { msg: 'sweep', evicted: 1, resident: 2 })
})

t.test('a sweep that fails is logged, and the next one comes', async (t) => {
  const swept = new EventEmitter()
  const { job, lines } = makeJob('* * * * * *', () => {
    setImmediate(() => setImmediate(() => swept.emit('sweep')))
    throw new Error('bug: sweep')
  })
  t.teardown(() => job.stop())
  job.start()
  await once(swept, 'sweep')
  await once(swept, 'sweep')
  like(t, JSON.parse(lines[0] ?? ''), { msg: 'sweep failed', err: { message: 'bug: sweep' } })
})

t.test('each sweep is counted, and whether it has failed', async (t) => {
  let sweeps = 0
  const { job, turns } = makeJob('* * * * * *', () => {
    sweeps += 1
    if (sweeps === 2) throw new Error('bug: sweep')
    return EMPTY
  })
  t.teardown(() => job.stop())
  job.start()
  while (turns.length < 3) await new Promise(setImmediate)
  t.strictSame(turns, [0, 1, 0])
})

t.test('an expression that means nothing is a configuration error that names the variable', async (t) => {
  t.throws(() => makeJob('99 * * * * *', () => EMPTY), ConfigError)
  throwsLike(t, () => makeJob('99 * * * * *', () => EMPTY), {
    message: /SWEEP_CRON must be a cron expression/,
  })
})
