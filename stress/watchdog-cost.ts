import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import { parseDatabaseUrl } from '../src/control/database-url.ts'
import { Lane } from '../src/control/lane.ts'
import { loginName } from '../src/placement/tenant-names.ts'
import { sql } from '../src/pool/statement.ts'
import { Secret } from '../src/secret.ts'
import { ServerAdmin } from '../src/servers/server-admin.ts'
import { ServerWatch } from '../src/servers/watchdog/server-watch.ts'
import { WATCH_NAME } from '../src/servers/watchdog/watch-session.ts'

/**
 * Measures what one look of the watchdog takes of a server with many sessions and locks:
 * node stress/watchdog-cost.ts --url postgres://... [--sessions 500] [--locks 20000] [--passes 200]
 * The server is to be of its own: tenants' logins are made there, and dropped at the end.
 */
const { values } = parseArgs({
  options: {
    url: { type: 'string', default: '' },
    sessions: { type: 'string', default: '500' },
    locks: { type: 'string', default: '16000' },
    passes: { type: 'string', default: '200' },
  },
})
const [sessions, locks, passes] = [Number(values.sessions), Number(values.locks), Number(values.passes)]
const address = parseDatabaseUrl(values.url)
const admin = new ServerAdmin({ address })
const logins = Array.from({ length: 50 }, () => loginName(randomUUID(), 'blue'))
for (const login of logins) await admin.script(`create role ${login} login password 'measured'`)
const lanes: Lane[] = []
for (let index = 0; index < sessions; index++) {
  const user = logins[index % logins.length] ?? ''
  const target = { ...address, user, password: new Secret('measured'), server: 'measured', parameters: {} }
  const lane = await Lane.open(target, { connectTimeoutMs: 10_000, patienceMs: undefined })
  lanes.push(lane)
  const each = Math.floor(locks / sessions)
  await lane.script(
    `begin; select count(pg_advisory_xact_lock(${index}, i)) from generate_series(1, ${each}) i`,
  )
}
const times: number[] = []
const watch = new ServerWatch({
  server: 'measured',
  clock: systemClock,
  login: async () => address,
  limits: () => ({
    lockPart: 1,
    blockingMs: 3_600_000,
    requestMs: 3_600_000,
    transactionMs: 3_600_000,
    sessionPart: 0,
    poolSessions: sessions,
    nodes: 1,
  }),
  offences: { count: 3, withinMs: 600_000 },
  logins: {
    block: async () => {},
    list: async () => [],
    whileBlocked: async () => {},
    current: async () => undefined,
  },
  observer: {
    ended: () => process.stderr.write('a session was ended\n'),
    blocked: () => {},
    failed: (_, error) => process.stderr.write(`${String(error)}\n`),
    passed: (_, ms) => times.push(ms),
  },
})
await watch.pass()
const [backend] = await admin.query<{ pid: number }>(
  sql`select pid from pg_stat_activity where application_name = ${WATCH_NAME}`,
)
/** The processor time of the watch's backend, in clock ticks of 10 ms; the server is on this machine. */
const ticks = async () => {
  const [, rest = ''] = (await readFile(`/proc/${backend?.pid ?? 0}/stat`, 'utf8')).split(') ')
  const fields = rest.split(' ')
  return Number(fields[11]) + Number(fields[12])
}
const ticksBefore = await ticks()
const before = process.cpuUsage()
for (let pass = 0; pass < passes; pass++) await watch.pass()
const { user, system } = process.cpuUsage(before)
const server = ((await ticks()) - ticksBefore) * 10
times.sort((a, b) => a - b)
const at = (part: number) => (times[Math.floor(times.length * part)] ?? Number.NaN).toFixed(1)
process.stdout.write(
  `${sessions} sessions, ${locks} locks: a look takes ${at(0.5)} ms, ${at(0.99)} ms at the 99th percentile; ` +
    `of a processor it takes ${(server / passes).toFixed(1)} ms at the server and ` +
    `${((user + system) / 1000 / passes).toFixed(1)} ms here\n`,
)
await watch.close()
for (const lane of lanes) lane.destroy()
for (const login of logins) {
  await admin.script(`drop role ${login}`)
}
await admin.close()
