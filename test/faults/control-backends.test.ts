import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { ErrorCode } from '../../src/errors.ts'
import { testDatabase } from '../support/database.ts'
import { PATIENT } from '../support/patient.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { Stage } from './stage.ts'

const KILLS = 20
/** Between two of them, so that a tenant can be made now and then. */
const PAUSE_MS = 100
/** What a caller may be told while it lasts; it asks again with the same Idempotency-Key. */
const AGAIN: readonly ErrorCode[] = ['CONTROL_UNAVAILABLE', 'SERVER_UNAVAILABLE', 'IDEMPOTENCY_IN_PROGRESS']

t.test("random backends of the service's own are terminated while it makes tenants", async (t) => {
  const { url } = await testDatabase(t)
  const stage = await Stage.open(t, {
    url,
    environment: { ...PATIENT, NODE_LEASE_SECONDS: '3', JOB_CLAIM_SECONDS: '10' },
  })
  const traffic = await stage.traffic(t)
  const names = new Set<string>()
  const outcomes = new Map<string, number>()
  let isOver = false

  /** Onboards one tenant after the other, and asks again until each is there. */
  async function onboard(caller: number): Promise<void> {
    for (let i = 0; !isOver; i++) {
      const name = `made ${caller}-${i}`
      for (;;) {
        const { statusCode, body } = await stage.service.operator({
          method: 'POST',
          url: '/v1/tenants',
          headers: { 'idempotency-key': name.replaceAll(' ', '-') },
          payload: { name, placement: i % 2 === 0 ? 'role' : 'schema' },
        })
        const outcome = statusCode === 201 ? 'ok' : (JSON.parse(body).code as string)
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        if (statusCode === 201) break
        await sleep(PAUSE_MS)
      }
      names.add(name)
    }
  }

  const callers = [onboard(0), onboard(1), onboard(2)]
  let killed = 0
  await withAdmin(url, async (admin) => {
    await eventually(async () => {
      const rows = await admin`
        select pg_terminate_backend(pid) from (
          select pid from pg_stat_activity
          where datname = current_database() and application_name in ('lessor control', 'lessor admin')
          order by random() limit 1) as victim`
      killed += rows.length
      await sleep(PAUSE_MS)
      return killed < KILLS ? `${killed} terminated` : undefined
    })
  })
  isOver = true
  await Promise.all(callers)
  t.comment([...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', '))
  t.strictSame(
    [...outcomes.keys()].filter((outcome) => outcome !== 'ok' && !AGAIN.includes(outcome as ErrorCode)),
    [],
    'whoever lost an answer was told to ask again',
  )
  const found = []
  for (const name of names) {
    const list = await stage.service.operator({ url: `/v1/tenants?name=${encodeURIComponent(name)}` })
    const { records } = list.json<{ records: { status: string }[] }>()
    found.push(records.map(({ status }) => status).join())
  }
  t.ok(names.size > 0)
  t.strictSame([...new Set(found)], ['active'], 'each tenant is there once, and whole')
  await stage.judge(t, traffic, [])
  await stage.close(t)
})
