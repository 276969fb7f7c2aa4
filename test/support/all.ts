// Runs test files, several at once, and writes one TAP document: node test/support/all.ts <jobs> <files as JSON>.
// tap's own command takes files in the order of their names; here they run in the order in which they are given.
import t from 'tap'

/** Seconds that one test of a file may take, unless it says otherwise: what .taprc says to tap's command. */
const TEST_TIMEOUT_S = 300

const files: string[] = JSON.parse(process.argv[3] ?? '[]')
t.jobs = Number(process.argv[2])
t.setTimeout(0)
const env = { ...process.env, TAP_TIMEOUT: `${TEST_TIMEOUT_S}` }
// tap puts a module for coverage into NODE_OPTIONS of what it spawns, which every process that a test starts would load.
const own = `NODE_OPTIONS=${process.env.NODE_OPTIONS ?? ''}`
for (const file of files) {
  const args = [own, process.execPath, file]
  void t.spawn('env', args, { buffered: true, timeout: TEST_TIMEOUT_S * 1000, env }, file)
}
