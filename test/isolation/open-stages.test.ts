import t from 'tap'
import { isLessorError } from '../../src/errors.ts'
import { openStages } from '../../src/isolation/open-stages.ts'
import { makeLocate } from '../../src/tenants/locate.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { openHouse } from '../tenants/house.ts'

t.test('a stage is cleared though the end of its rotation is under way', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const busy = Promise.withResolvers<void>()
  const house = await openHouse(t, {
    url,
    afterStep: async (kind, step) => {
      if (kind === 'rotate' && step === 'drain') await busy.promise
    },
  })
  const refusals: string[] = []
  const stages = openStages({
    ...house,
    tenants: {
      onboard: (order) => house.tenants.onboard(order),
      find: (id) => house.tenants.find(id),
      rotateCredential: (id) => house.tenants.rotateCredential(id),
      async delete(id) {
        try {
          return await house.tenants.delete(id)
        } catch (error) {
          if (isLessorError(error)) refusals.push(error.code)
          busy.resolve()
          throw error
        }
      },
    },
    locate: makeLocate(house),
    server: 'default',
    only: ['role'],
    signal: AbortSignal.timeout(25_000),
  })
  const ids: string[] = []
  for await (const { own, other, gone, roles } of stages) {
    ids.push(own.id, other.id, gone.id)
    await roles.find(({ name }) => name === 'green')?.target()
  }
  t.strictSame([...new Set(refusals)], ['TENANT_BUSY'])
  t.strictSame(await Promise.all(ids.map(async (id) => (await house.tenants.get(id)).status)), [
    'deleted',
    'deleted',
    'deleted',
  ])
})

t.test('a stage whose tenant stays busy ends with its signal', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const busy = Promise.withResolvers<void>()
  const aborter = new AbortController()
  const house = await openHouse(t, {
    url,
    afterStep: async (kind, step) => {
      if (kind === 'rotate' && step === 'drain') await busy.promise
    },
  })
  const stages = openStages({
    ...house,
    locate: makeLocate(house),
    server: 'default',
    only: ['role'],
    signal: aborter.signal,
  })
  const run = async () => {
    for await (const { roles } of stages) {
      await roles.find(({ name }) => name === 'green')?.target()
      aborter.abort()
    }
  }
  await rejectsLike(t, run(), { name: 'AbortError' })
  busy.resolve()
})
