import t from 'tap'
import { testDatabase } from '../support/database.ts'
import { PATIENT } from '../support/patient.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { TENANT_LOGIN } from './logins.ts'
import { Stage } from './stage.ts'

/** Fast statements that one connection may carry at once; src/pool/sharing.ts. */
const SHARED = 16
const KILLS = 30

t.test('random backends of tenants are terminated while they work', async (t) => {
  const { url } = await testDatabase(t)
  const stage = await Stage.open(t, { url, environment: PATIENT })
  const traffic = await stage.traffic(t)
  let killed = 0
  await withAdmin(url, async (admin) => {
    await eventually(async () => {
      const rows = await admin`
        select pg_terminate_backend(pid) from (
          select pid from pg_stat_activity
          where datname = current_database() and usename ~ ${TENANT_LOGIN.source}
          order by random() limit 1) as victim`
      killed += rows.length
      return killed < KILLS ? `${killed} terminated` : undefined
    })
  })
  await stage.recovered(t, traffic)
  await stage.judge(t, traffic, ['CONNECTION_LOST'])
  t.ok(traffic.failed <= killed * SHARED, `${traffic.failed} requests lost to ${killed} connections`)
  t.equal(stage.pools.counters().opens.failed, 0, 'no login failed')
  await stage.close(t)
})
