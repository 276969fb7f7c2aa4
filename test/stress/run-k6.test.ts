import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runK6 } from '../../stress/run-k6.ts'
import { like, rejectsLike } from '../support/like.ts'

const TREND = { med: 1, 'p(95)': 2, 'p(99)': 3, max: 4 }
const SUMMARY = {
  state: { testRunDurationMs: 1500 },
  root_group: { checks: [{ name: 'right', passes: 2, fails: 1, path: '::right' }] },
  metrics: {
    http_reqs: { type: 'counter', values: { count: 3, rate: 2 } },
    http_req_failed: { type: 'rate', values: { rate: 0.5 }, thresholds: { 'rate==0': { ok: false } } },
    http_req_duration: { type: 'trend', values: TREND },
    own_confirmed: { type: 'counter', values: { count: 7, rate: 1 } },
    own_last_at: { type: 'gauge', values: { value: 12, min: 1, max: 12 } },
    own_beside: { type: 'trend', values: TREND },
  },
}

/** A program that ends as k6 would, having written this summary. */
async function standIn(t: Test, exit: number): Promise<{ k6: string; folder: string }> {
  const folder = t.testdir({ 'summary.json': JSON.stringify(SUMMARY) })
  const k6 = join(folder, 'k6')
  await writeFile(k6, `#!/bin/sh\ncp '${join(folder, 'summary.json')}' "$SUMMARY_FILE"\nexit ${exit}\n`)
  await chmod(k6, 0o755)
  return { k6, folder }
}

t.test("a summary is read: k6's figures, and the script's own by their names", async (t) => {
  const { k6, folder } = await standIn(t, 99)
  const { signal } = new AbortController()
  const figures = await runK6({ k6, folder, signal, script: 'script.js', env: {} })
  like(t, figures, {
    exit: 99,
    seconds: 1.5,
    requests: 3,
    failedRate: 0.5,
    crossed: ['http_req_failed: rate==0'],
    duration: { p50: 1, p95: 2, p99: 3, max: 4 },
  })
  t.strictSame(figures.counters, { confirmed: 7 })
  t.strictSame(figures.gauges, { last_at: 12 })
  t.strictSame(figures.trends, { beside: { p50: 1, p95: 2, p99: 3, max: 4 } })
})

t.test('a k6 that fails has no figures', async (t) => {
  const { k6, folder } = await standIn(t, 107)
  const { signal } = new AbortController()
  await rejectsLike(t, runK6({ k6, folder, signal, script: 'script.js', env: {} }), {
    message: /ended with 107/,
  })
})
