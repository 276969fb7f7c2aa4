import { constants } from 'node:os'

/** Interrupt is the wish of whoever sent a signal that this process ends. */
export interface Interrupt {
  readonly signal: AbortSignal
  /** The exit status that tells of the signal; 0 while there was none. */
  readonly exitStatus: number
}

/** abortOnSignals turns Ctrl-C and its like into an AbortSignal, so that everything is cleaned up. */
export function abortOnSignals(): Interrupt {
  const controller = new AbortController()
  let exitStatus = 0
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      exitStatus ||= 128 + constants.signals[name]
      controller.abort()
    })
  }
  return {
    signal: controller.signal,
    get exitStatus() {
      return exitStatus
    },
  }
}
