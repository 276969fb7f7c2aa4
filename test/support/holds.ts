import fc from 'fast-check'
import type { Test } from 'tap'

/** holds asserts that a property holds for all that fast-check makes up, and says what it does not hold for, and the seed. */
export function holds<Ts>(
  t: Test,
  property: fc.IAsyncProperty<Ts>,
  parameters?: fc.Parameters<Ts>,
): Promise<void>
export function holds<Ts>(t: Test, property: fc.IProperty<Ts>, parameters?: fc.Parameters<Ts>): void
export function holds<Ts>(
  t: Test,
  property: fc.IRawProperty<Ts, boolean>,
  parameters?: fc.Parameters<Ts>,
): Promise<void> | void {
  const tell = (details: fc.RunDetails<Ts>) => {
    t.equal(fc.defaultReportMessage(details), undefined, `${details.numRuns} runs`)
  }
  const details = fc.check(property, parameters)
  return details instanceof Promise ? details.then(tell) : tell(details)
}
