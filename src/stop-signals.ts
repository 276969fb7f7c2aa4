import type { EventEmitter } from 'node:events'
import type { Clock } from './clock.ts'

/** STOP_SIGNALS ask a service to stop: a terminal's, and those of npm, systemd, container runtimes and nodemon. */
export const STOP_SIGNALS = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR2'] as const

/** A signal that comes again within this time is the same one: npm hands on what the terminal has sent to all already. */
const SAME_MS = 2_000

export interface StopSignalsOptions {
  readonly process: Pick<EventEmitter, 'on' | 'off'>
  readonly clock: Clock
  readonly onStop: (signal: NodeJS.Signals) => void
  /** A later signal, of one who does not want to wait. */
  readonly onHurry: (signal: NodeJS.Signals) => void
}

/** listenForStop tells of the first signal, and of those that come more than two seconds after it. Returns what ends that. */
export function listenForStop({ process, clock, onStop, onHurry }: StopSignalsOptions): () => void {
  let stoppedAt: number | undefined
  const hear = (signal: NodeJS.Signals): void => {
    if (stoppedAt === undefined) {
      stoppedAt = clock.now()
      onStop(signal)
    } else if (clock.now() - stoppedAt > SAME_MS) onHurry(signal)
  }
  for (const signal of STOP_SIGNALS) process.on(signal, hear)
  return () => {
    for (const signal of STOP_SIGNALS) process.off(signal, hear)
  }
}
