/**
 * Clock is the only source of time in the engines, so that tests can move it.
 * `now()` is in milliseconds since the Unix epoch, with fractions, and never runs backwards.
 */
export interface Clock {
  now(): number
}

/** systemClock reads the process's monotonic clock, anchored at the wall-clock time of its start. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
}
