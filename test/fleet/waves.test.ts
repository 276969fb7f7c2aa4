import t from 'tap'
import { failuresAllowed, parseFailureLimit, WAVE_MAX_SIZE, waveSize } from '../../src/fleet/waves.ts'

t.test('each wave is twice as large as the one before, up to a bound', async (t) => {
  t.strictSame(
    [0, 1, 2, 3, 4, 5, 6, 7, 1000].map((ended) => waveSize(10, ended)),
    [10, 20, 40, 80, 160, 320, WAVE_MAX_SIZE, WAVE_MAX_SIZE, WAVE_MAX_SIZE],
  )
  t.equal(waveSize(1, 0), 1)
  t.equal(waveSize(WAVE_MAX_SIZE, 3), WAVE_MAX_SIZE)
})

t.test('a limit of failures is a number or a part of the whole, rounded down', async (t) => {
  t.strictSame(parseFailureLimit('3'), { kind: 'count', count: 3 })
  t.strictSame(parseFailureLimit('5%'), { kind: 'percent', percent: 5 })
  for (const text of ['', '-1', '1.5', '101%', '5 %', '%', 'five']) {
    t.equal(parseFailureLimit(text), undefined, text)
  }
  t.equal(failuresAllowed({ kind: 'count', count: 3 }, 1), 3)
  t.equal(failuresAllowed({ kind: 'percent', percent: 5 }, 19), 0)
  t.equal(failuresAllowed({ kind: 'percent', percent: 5 }, 20), 1)
  t.equal(failuresAllowed({ kind: 'percent', percent: 100 }, 7), 7)
})
