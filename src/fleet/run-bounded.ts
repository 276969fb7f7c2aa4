export interface Bounds<T> {
  /** Items at once. */
  readonly total: number
  /** Items with the same key at once. */
  readonly perKey: number
  readonly keyOf: (item: T) => string
  /** Asked before each item; false leaves the rest alone. */
  readonly mayBegin: () => boolean
}

/**
 * runBounded runs `work` on the items in order, so many at once; an item whose key is busy lets others
 * pass. It resolves when what was begun has ended. When `work` throws, nothing more is begun, and the first
 * error is thrown once the others have ended.
 */
export async function runBounded<T>(
  items: readonly T[],
  bounds: Bounds<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items]
  const busy = new Map<string, number>()
  const running = new Set<Promise<void>>()
  const errors: unknown[] = []

  async function run(item: T): Promise<void> {
    const key = bounds.keyOf(item)
    busy.set(key, (busy.get(key) ?? 0) + 1)
    try {
      await work(item)
    } catch (error) {
      errors.push(error)
    } finally {
      busy.set(key, (busy.get(key) ?? 1) - 1)
    }
  }

  for (;;) {
    while (running.size < bounds.total && errors.length === 0 && bounds.mayBegin()) {
      const next = waiting.findIndex((item) => (busy.get(bounds.keyOf(item)) ?? 0) < bounds.perKey)
      const [item] = next < 0 ? [] : waiting.splice(next, 1)
      if (item === undefined) break
      const begun: Promise<void> = run(item).finally(() => running.delete(begun))
      running.add(begun)
    }
    if (running.size === 0) break
    await Promise.race(running)
  }
  if (errors.length > 0) throw errors[0]
}
