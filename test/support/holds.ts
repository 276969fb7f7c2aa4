import fc from 'fast-check'
import type { Test } from 'tap'

/** holds asserts that a property holds for all that fast-check makes up, and says what it does not hold for, and the seed. */
export async function holds<Ts>(
  t: Test,
  property: fc.IRawProperty<Ts, boolean>,
  parameters?: fc.Parameters<Ts>,
): Promise<void> {
  const details = await fc.check(property, parameters)
  t.equal(fc.defaultReportMessage(details), undefined, `${details.numRuns} runs`)
}
