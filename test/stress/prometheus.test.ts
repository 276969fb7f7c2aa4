import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import t from 'tap'
import { MetricsText } from '../../stress/prometheus.ts'
import { throwsLike } from '../support/like.ts'

t.test('a scrape of prom-client is read back', async (t) => {
  const registers = [new Registry()]
  const pools = new Gauge({ name: 'pools', help: 'Pools', labelNames: ['state'], registers })
  pools.set({ state: 'ready' }, 3)
  pools.set({ state: 'odd "name", with {braces}' }, 4)
  new Counter({ name: 'hits', help: 'Hits', registers }).inc(7)
  const times = new Histogram({ name: 'times', help: 'Times', buckets: [0.1, 1], registers })
  for (const seconds of [0.05, 0.05, 0.05, 0.5]) times.observe(seconds)

  const text = new MetricsText((await registers[0]?.metrics()) ?? '')
  t.equal(text.sum('hits'), 7)
  t.equal(text.sum('pools'), 7)
  t.equal(text.by('pools', 'state').ready, 3)
  t.equal(Object.keys(text.by('pools', 'state')).length, 2)
  t.equal(text.quantile('times', 0.5), 0.1)
  t.equal(text.quantile('times', 0.95), 1)
})

t.test('a quantile past the last bucket is infinite, and of nothing there is none', async (t) => {
  const registers = [new Registry()]
  const times = new Histogram({ name: 'times', help: 'Times', buckets: [1], registers })
  const scrape = async () => new MetricsText((await registers[0]?.metrics()) ?? '')
  t.equal((await scrape()).quantile('times', 0.5), undefined)
  times.observe(2)
  t.equal((await scrape()).quantile('times', 0.5), Number.POSITIVE_INFINITY)
})

t.test('a metric that is missing is no zero', async (t) => {
  throwsLike(t, () => new MetricsText('').sum('hits'), { message: /no metric hits/ })
})
