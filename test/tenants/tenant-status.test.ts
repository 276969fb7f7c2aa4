import t from 'tap'
import { OFFENCES } from '../../src/tenants/tenant.ts'
import { assertUsable } from '../../src/tenants/tenant-status.ts'
import { like, throwsLike } from '../support/like.ts'

const blockedAt = '2026-05-04T03:02:01.000Z'

t.test('a blocked login says since when it is blocked, and what its sessions did', async (t) => {
  const deeds = OFFENCES.map((reason) => {
    const error = throwsLike(
      t,
      () => assertUsable({ status: 'active', block: { reason, blockedAt } }),
      {
        code: 'LOGIN_BLOCKED',
        message: /^The tenant's database login is blocked since 2026-05-04T03:02:01\.000Z, /,
      },
      reason,
    )
    const { message } = error as Error
    return /since its sessions (\w.+\w) again and again\. It works again/.exec(message)?.[1]
  })
  t.notOk(deeds.includes(undefined))
  t.equal(new Set(deeds).size, 7, 'each offence has words of its own')
})

t.test('an active tenant without a block can be used', async (t) => {
  t.equal(assertUsable({ status: 'active' }), undefined)
  t.equal(assertUsable({ status: 'active', block: null }), undefined)
})

t.test('a tenant that is not active says so, whether it is blocked or not', async (t) => {
  for (const block of [null, { reason: 'locks', blockedAt }] as const) {
    const told = (['provisioning', 'suspended', 'deleting', 'deleted'] as const).map((status) =>
      throwsLike(t, () => assertUsable({ status, block }), { message: String }),
    )
    like(t, told, [
      { code: 'TENANT_NOT_ACTIVE', message: 'The tenant is provisioning.' },
      { code: 'TENANT_SUSPENDED' },
      { code: 'TENANT_NOT_ACTIVE', message: 'The tenant is deleting.' },
      { code: 'TENANT_NOT_FOUND' },
    ])
  }
})
