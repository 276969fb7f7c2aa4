/** Untried is what becomes of a part of the proof that could not be tried. */
export interface Untried {
  /** Hears why, and the other parts are tried; without it the proof ends with that. Must not throw. */
  readonly onUntried?: (error: unknown) => void
  /** Ends the proof. */
  readonly signal: AbortSignal
}

/** orUntried resolves with undefined where the work failed and `onUntried` has heard why. @throws what the work throws else */
export async function orUntried<T>(
  { onUntried, signal }: Untried,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (onUntried === undefined || signal.aborted) throw error
    onUntried(error)
    return undefined
  }
}
