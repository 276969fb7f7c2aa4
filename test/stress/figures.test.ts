import t from 'tap'
import { median, quantile } from '../../stress/bench/figures.ts'

t.test('the median is the middle value, or the mean of the middle two', async (t) => {
  t.equal(median([5]), 5)
  t.equal(median([9, 1, 5]), 5)
  t.equal(median([4, 1, 2, 100]), 3)
  t.throws(() => median([]), RangeError)
})

t.test('a quantile is a value that was measured', async (t) => {
  const sorted = Float64Array.from({ length: 100 }, (_, i) => i + 1)
  t.equal(quantile(sorted, 0.5), 50)
  t.equal(quantile(sorted, 0.99), 99)
  t.equal(quantile(sorted, 1), 100)
  t.equal(quantile(Float64Array.of(7), 0.5), 7)
  t.throws(() => quantile(new Float64Array(), 0.5), RangeError)
})
