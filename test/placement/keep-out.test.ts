import t from 'tap'
import { keepOut } from '../../src/placement/tenant-logins.ts'
import type { ScriptDb } from '../../src/pool/statement.ts'

t.test('a login whose sessions change it again and again is kept out once these have ended', async (t) => {
  const log: string[] = []
  const db: ScriptDb = {
    async query() {
      const [row] = [{ script: log.includes('ended') ? 'alter' : 'alter role' }]
      log.push('asked')
      return [row] as never
    },
    async script() {
      log.push('script')
      if (log.filter((each) => each === 'script').length <= 7) {
        throw Object.assign(new Error('tuple concurrently updated'), { code: 'XX000' })
      }
    },
    async transaction() {
      log.push('ended')
      return undefined as never
    },
  }
  t.equal(await keepOut(db, 'tb_x').catch((error: Error) => error.message), true)
  t.ok(log.includes('ended'))
})
