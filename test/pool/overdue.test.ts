import t from 'tap'
import { isLessorError } from '../../src/errors.ts'
import { overdue } from '../../src/pool/deadlines.ts'
import type { Slot } from '../../src/pool/slot.ts'

const LIMITS = { connectTimeoutMs: 5_000, statementTimeoutMs: 30_000 }

t.test(
  'a connection that is not open in time is given up, with the code of a host that does not answer',
  async (t) => {
    const opening = new AbortController()
    const slot = { state: 'opening', since: 100, opening } as Slot
    t.equal(overdue(slot, 5_099, LIMITS), undefined)
    t.equal(opening.signal.aborted, false)
    t.equal(overdue(slot, 5_100, LIMITS), undefined)
    const { reason } = opening.signal
    if (!isLessorError(reason, 'POOL_OPEN_FAILED'))
      throw new Error('it is aborted with what callers are told')
    t.equal(reason.retryAfterSeconds, 1)
    // Breakers and logs tell failures apart by the code of the cause.
    t.equal(reason.cause instanceof Error && 'code' in reason.cause && reason.cause.code, 'ETIMEDOUT')
  },
)
