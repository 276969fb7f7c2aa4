import t from 'tap'
import { testDatabase } from '../support/database.ts'
import { fuzz } from './fuzz.ts'
import { findingLines, roundLine, totalLine } from './report.ts'

t.setTimeout(280_000)

t.test("every answer is its own question's, in all placements, on one to four connections", async (t) => {
  const result = await fuzz(t, {
    statements: 50_000,
    rounds: 16,
    seed: 1,
    callers: 64,
    // Enough to look into; each that hangs takes half a minute.
    maxFailures: 2,
    database: () => testDatabase(t, { template: 'control' }),
    onRound(round) {
      for (const line of findingLines(round)) t.comment(line)
      t.equal(round.findings.total, 0, roundLine(round))
    },
  })
  t.comment(totalLine(result))
  t.ok(result.statements >= 50_000, 'all of them were asked')
})
