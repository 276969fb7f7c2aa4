import t from 'tap'
import { parseQuota } from '../../src/tenants/quota.ts'
import { throwsLike } from '../support/like.ts'

t.test('a quota has what is asked for and nothing else', async (t) => {
  for (const quota of [{}, { connections: 1 }, { connections: 4, weight: 100 }, { weight: 1 }]) {
    t.strictSame(parseQuota(quota, 4), quota)
  }
  t.strictSame(parseQuota({ weight: 2, ...{ rows: 3 } }, 4), { weight: 2 })
})

t.test('what is wrong with a quota is said by field', async (t) => {
  for (const [name, maximum] of [
    ['connections', 4],
    ['weight', 100],
  ] as const) {
    for (const value of [0, -1, 1.5, maximum + 1, Number.NaN]) {
      const message = `must be an integer from 1 to ${maximum}`
      throwsLike(t, () => parseQuota({ [name]: value }, 4), {
        code: 'INVALID_REQUEST',
        message: `The quota's ${name} ${message}.`,
        errors: [{ in: 'body', path: `/quota/${name}`, message }],
      })
    }
  }
})
