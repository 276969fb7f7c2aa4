import { EventEmitter } from 'node:events'
import t from 'tap'
import { listenForStop, STOP_SIGNALS } from '../src/stop-signals.ts'

t.test('a signal that comes again within two seconds is the same one', async (t) => {
  const [process, clock] = [new EventEmitter(), { time: 5, now: () => clock.time }]
  const told: string[] = []
  const end = listenForStop({
    process,
    clock,
    onStop: (signal) => told.push(`stop ${signal}`),
    onHurry: (signal) => told.push(`hurry ${signal}`),
  })
  process.emit('SIGINT', 'SIGINT')
  process.emit('SIGINT', 'SIGINT')
  clock.time += 2_000
  process.emit('SIGTERM', 'SIGTERM')
  t.strictSame(told, ['stop SIGINT'])
  clock.time += 1
  process.emit('SIGTERM', 'SIGTERM')
  t.strictSame(told, ['stop SIGINT', 'hurry SIGTERM'])
  end()
  for (const signal of STOP_SIGNALS) t.equal(process.listenerCount(signal), 0)
})

t.test('each signal that asks to stop does', async (t) => {
  for (const signal of STOP_SIGNALS) {
    const process = new EventEmitter()
    const told: string[] = []
    listenForStop({
      process,
      clock: { now: () => 0 },
      onStop: (heard) => told.push(heard),
      onHurry: (heard) => told.push(heard),
    })
    process.emit(signal, signal)
    t.strictSame(told, [signal])
  }
})
