import t from 'tap'
import { Admission } from '../../src/pool/admission.ts'
import { newCounters } from '../../src/pool/counters.ts'
import { WaitingRoom } from '../../src/pool/waiting-room.ts'
import { FakeClock } from './fake-driver.ts'

t.test('a tenant whose callers have all gone comes after those who came meanwhile', async (t) => {
  const clock = new FakeClock()
  const room = new WaitingRoom(clock, 10, newCounters())
  const admission = new Admission(room)
  const letIn: string[] = []
  const refused: unknown[] = []
  const wait = (tenantId: string, caller = new AbortController()) => {
    admission.add(tenantId, caller, 1_000, {
      letIn: () => letIn.push(tenantId),
      refuse: (error) => refused.push(error),
    })
    return caller
  }
  const gone = wait('early')
  wait('patient')
  // A signal is read once its caller has waited for a moment.
  clock.time += 500
  room.tick()
  gone.abort()
  t.equal(refused.length, 1)
  wait('early')
  while (admission.letNextIn());
  t.strictSame(letIn, ['patient', 'early'])
  t.equal(admission.isEmpty, true)
})
