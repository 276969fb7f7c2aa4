import { createSecretKey } from 'node:crypto'
import t from 'tap'
import type { ApiKey } from '../../src/access/api-key.ts'
import { Authenticator } from '../../src/access/authenticator.ts'
import type { HashKey } from '../../src/access/hash-keys.ts'
import { KeyService } from '../../src/access/key-service.ts'
import { MacHasher } from '../../src/access/mac-hasher.ts'
import { argon2idHasher } from '../../src/access/secret-hasher.ts'
import { Secret } from '../../src/secret.ts'
import { like, rejectsLike } from '../support/like.ts'
import { addNamespace, addTenant, Barrier, controlDatabase, ManualClock, OPERATOR_KEY } from './helpers.ts'

const control = await controlDatabase(t)
const namespaceId = await addNamespace(control)
const owner = { namespaceId, tenantId: await addTenant(control, namespaceId) }

t.test("a key is born in its caller's transaction, or not at all", async (t) => {
  const keys = new KeyService()
  const operatorKey = new Secret(OPERATOR_KEY)
  const authenticator = new Authenticator({ db: control, clock: new ManualClock(), operatorKey })
  const born = await control.transaction((tx) => keys.issue(tx, { ...owner, name: 'born' }))
  like(t, await authenticator.authenticate(born.key.reveal()), { keyId: born.id })

  let unborn = new Secret('')
  const failed = control.transaction(async (tx) => {
    unborn = (await keys.issue(tx, { ...owner, name: 'unborn' })).key
    throw new Error('undone')
  })
  await rejectsLike(t, failed, { message: 'undone' })
  await rejectsLike(t, async () => authenticator.authenticate(unborn.reveal()), { code: 'UNAUTHENTICATED' })
  const { records } = await keys.list(control, owner, { limit: 10 })
  t.strictSame(
    records.map(({ name }) => name),
    ['born'],
  )
})

t.test('keys are hashed one at a time, and a crowd is told to come back', async (t) => {
  const barrier = new Barrier()
  let running = 0
  let most = 0
  const hasher = {
    ...argon2idHasher,
    async hash(key: ApiKey) {
      most = Math.max(most, ++running)
      await barrier.pass()
      running--
      return argon2idHasher.hash(key)
    },
  }
  const keys = new KeyService({ hasher })
  const crowd = Array.from({ length: 80 }, () => keys.issue(control, owner).then(() => 'issued', codeOf))
  await barrier.reached
  barrier.open()
  const outcomes = await Promise.all(crowd)
  t.equal(outcomes.filter((outcome) => outcome === 'issued').length, 65)
  t.equal(outcomes.filter((outcome) => outcome === 'AUTHENTICATION_BUSY').length, 15)
  t.equal(most, 1)
})

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : error
}

t.test('a key has the form that every node reads which may be there', async (t) => {
  const hashKey = { id: '00000001', key: createSecretKey(Buffer.alloc(32, 1)) }
  let current: HashKey | undefined
  const hasher = new MacHasher({ current: async () => current, find: async () => hashKey })
  const keys = new KeyService({ hasher })
  const operatorKey = new Secret(OPERATOR_KEY)
  const authenticator = new Authenticator({ db: control, hasher, clock: new ManualClock(), operatorKey })
  // As the version before read them.
  const before = /^lsr_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/
  for (const [found, isOld] of [
    [undefined, true],
    [hashKey, false],
  ] as const) {
    current = found
    const issued = await keys.issue(control, owner)
    t.equal(before.test(issued.key.reveal()), isOld)
    like(t, await authenticator.authenticate(issued.key.reveal()), { keyId: issued.id })
  }
})
