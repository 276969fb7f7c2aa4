import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 1

/** Stall is the longest time in which the event loop came to nothing else, in milliseconds. */
export interface Stall {
  /** By the wall clock, with whatever else the machine did meanwhile. */
  readonly wallMs: number
  /** What this thread itself has worked in one go. */
  readonly workMs: number
}

/**
 * StallWatch looks at the event loop every millisecond, from its construction until `stop`. On a busy
 * machine the wall clock tells of the other processes as much as of this one; the processor time of the
 * thread between two looks does not.
 */
export class StallWatch {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  readonly #timer: NodeJS.Timeout
  #before = cpuMs()
  #workMs = 0

  constructor() {
    this.#delay.enable()
    this.#timer = setInterval(() => this.#look(), RESOLUTION_MS)
  }

  stop(): Stall {
    this.#look()
    clearInterval(this.#timer)
    this.#delay.disable()
    return { wallMs: Math.max(0, this.#delay.max / 1e6 - RESOLUTION_MS), workMs: this.#workMs }
  }

  #look(): void {
    const now = cpuMs()
    this.#workMs = Math.max(this.#workMs, now - this.#before)
    this.#before = now
  }
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}
