import { inspect } from 'node:util'
import t from 'tap'
import { formatApiKey, makeApiKey, parseApiKey } from '../../src/access/api-key.ts'
import { Authenticator, type AuthenticatorOptions } from '../../src/access/authenticator.ts'
import { type IssuedKey, KeyService } from '../../src/access/key-service.ts'
import type { Principal } from '../../src/access/principal.ts'
import { Outage } from '../../src/control/outage.ts'
import { LessorError } from '../../src/errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { like, throwsLike } from '../support/like.ts'
import {
  addNamespace,
  addTenant,
  Barrier,
  CountingDb,
  CountingHasher,
  controlDatabase,
  ManualClock,
  OPERATOR_KEY,
} from './helpers.ts'

const control = await controlDatabase(t)
const keys = new KeyService()

/** A fresh authenticator and a tenant of its own, with all that the authenticator uses in view. */
async function setUp(options: Partial<AuthenticatorOptions> = {}) {
  const namespaceId = await addNamespace(control)
  const tenantId = await addTenant(control, namespaceId)
  const db = new CountingDb(control)
  const hasher = new CountingHasher()
  const clock = new ManualClock()
  const operatorKey = new Secret(OPERATOR_KEY)
  const authenticator = new Authenticator({ db, hasher, clock, operatorKey, ...options })
  const owner = { namespaceId, tenantId }
  return { db, hasher, clock, authenticator, owner, issue: () => keys.issue(control, owner) }
}

function tokenOf(key: IssuedKey): string {
  return key.key.reveal()
}

/** A well-formed key with the same id and another secret. */
function wrongSecret(key: IssuedKey): string {
  return formatApiKey({ keyId: key.id, secret: makeApiKey().secret }).reveal()
}

function unknownToken(): string {
  return formatApiKey(makeApiKey()).reveal()
}

/** Resolves when no look-up is to come and none is under way. */
async function lookedUp(db: CountingDb): Promise<void> {
  do await new Promise((resolve) => setImmediate(resolve))
  while (db.running > 0)
  await new Promise((resolve) => setImmediate(resolve))
}

async function refusal(authenticator: Authenticator, token: string): Promise<unknown> {
  try {
    return await authenticator.authenticate(token)
  } catch (error) {
    return error
  }
}

async function revoke(authenticator: Authenticator, keyId: string): Promise<void> {
  await control.query(sql`update lessor.api_keys set revoked_at = now() where id = ${keyId}`)
  authenticator.forget(keyId)
}

t.test('the operator key is known at once and costs no query', async (t) => {
  const { authenticator, db, hasher } = await setUp()
  t.strictSame(authenticator.authenticate(OPERATOR_KEY), { kind: 'operator' })
  for (const wrong of ['', 'x', OPERATOR_KEY.slice(1), `${OPERATOR_KEY}x`, OPERATOR_KEY.toUpperCase()]) {
    throwsLike(t, () => authenticator.authenticate(wrong), { code: 'UNAUTHENTICATED' })
  }
  t.equal(db.queries + hasher.verifications, 0)
})

t.test('a weak operator key is refused when the service is built, and not shown', async (t) => {
  const { db, clock } = await setUp()
  for (const key of ['', 'a'.repeat(31), `${'a'.repeat(40)} b`, `${'a'.repeat(40)}ä`]) {
    throwsLike(t, () => new Authenticator({ db, clock, operatorKey: new Secret(key) }), {
      message: '"operatorKey" option must be at least 32 visible ASCII characters',
    })
  }
})

t.test("a key leads to its namespace and tenant, a namespace's key to no tenant", async (t) => {
  const { authenticator, owner, issue } = await setUp()
  const key = await issue()
  t.strictSame(await authenticator.authenticate(tokenOf(key)), { kind: 'api_key', keyId: key.id, ...owner })
  const wide = await keys.issue(control, { ...owner, tenantId: null })
  like(t, await authenticator.authenticate(tokenOf(wide)), { keyId: wide.id, tenantId: null })
})

t.test('a verified key passes without waiting, without a query and without argon2', async (t) => {
  const { authenticator, db, hasher, issue } = await setUp()
  const token = tokenOf(await issue())
  const first = authenticator.authenticate(token)
  t.ok(first instanceof Promise)
  const principal = await first
  t.strictSame([db.queries, hasher.verifications], [1, 1])
  for (let i = 0; i < 100; i++) t.equal(authenticator.authenticate(token), principal)
  t.strictSame([db.queries, hasher.verifications], [1, 1])
})

t.test('a principal cannot be changed by who receives it', async (t) => {
  const { authenticator, issue } = await setUp()
  const principal = await authenticator.authenticate(tokenOf(await issue()))
  t.throws(() => Object.assign(principal, { tenantId: null }), TypeError)
  t.throws(() => Object.assign(authenticator.authenticate(OPERATOR_KEY), { kind: 'x' }), TypeError)
})

t.test('after its time a verified key has its row read again, and no argon2', async (t) => {
  const { authenticator, db, hasher, clock, issue } = await setUp({ verifiedMs: 1_000 })
  const token = tokenOf(await issue())
  await authenticator.authenticate(token)
  clock.advance(999)
  t.notOk(authenticator.authenticate(token) instanceof Promise)
  clock.advance(1)
  const renewals = [authenticator.authenticate(token), authenticator.authenticate(token)]
  t.ok(renewals[0] instanceof Promise)
  await Promise.all(renewals)
  t.strictSame([db.queries, hasher.verifications], [2, 1], 'one query for both')
  t.notOk(authenticator.authenticate(token) instanceof Promise)
})

t.test('a verified key is as fresh as the question for its row, not as the answer', async (t) => {
  const { authenticator, clock, db, issue } = await setUp()
  const token = tokenOf(await issue())
  const barrier = new Barrier()
  db.before = barrier.pass
  const verifying = authenticator.authenticate(token)
  await barrier.reached
  clock.advance(60_000)
  barrier.open()
  const principal = await verifying
  const { queries } = db
  t.strictSame(await authenticator.authenticate(token), principal)
  t.equal(db.queries, queries + 1)
})

t.test('a key that was revoked elsewhere is refused when its time is over', async (t) => {
  const { authenticator, db, clock, hasher, issue } = await setUp({ verifiedMs: 1_000 })
  const key = await issue()
  await authenticator.authenticate(tokenOf(key))
  await control.query(sql`update lessor.api_keys set revoked_at = now() where id = ${key.id}`)
  like(t, authenticator.authenticate(tokenOf(key)), { keyId: key.id }, 'not yet known here')
  clock.advance(1_000)
  like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
  like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
  t.strictSame([db.queries, hasher.verifications], [2, 1], 'the second time it is refused unseen')
})

t.test('a key whose hash was changed is verified anew', async (t) => {
  const { authenticator, clock, hasher, issue } = await setUp()
  const key = await issue()
  await authenticator.authenticate(tokenOf(key))
  const other = await issue()
  await control.query(sql`
    update lessor.api_keys set hash = (select hash from lessor.api_keys where id = ${other.id}) where id = ${key.id}`)
  clock.advance(60_000)
  like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
  t.equal(hasher.verifications, 2)
  const secret = parseApiKey(tokenOf(other))?.secret ?? new Secret('')
  like(t, await authenticator.authenticate(formatApiKey({ keyId: key.id, secret }).reveal()), {
    keyId: key.id,
  })
})

t.test('an unknown id, a wrong secret, a revoked key and a malformed one are answered alike', async (t) => {
  const { authenticator, hasher, db, issue } = await setUp()
  const [good, revoked] = [await issue(), await issue()]
  await control.query(sql`update lessor.api_keys set revoked_at = now() where id = ${revoked.id}`)
  const seen = []
  const work = []
  for (const token of [unknownToken(), wrongSecret(good), tokenOf(revoked)]) {
    const [queries, verifications] = [db.queries, hasher.verifications]
    const error = await refusal(authenticator, token)
    t.ok(error instanceof LessorError)
    seen.push({ ...(error as LessorError), message: String(error) })
    work.push([db.queries - queries, hasher.verifications - verifications])
  }
  t.strictSame(work, [
    [1, 0],
    [1, 1],
    [1, 0],
  ])
  for (const token of ['', 'lsr_', `${tokenOf(good)}x`, tokenOf(good).slice(0, -1), 'x'.repeat(64)]) {
    const error = await refusal(authenticator, token)
    seen.push({ ...(error as LessorError), message: String(error) })
  }
  t.equal(new Set(seen.map((each) => JSON.stringify(each))).size, 1)
  like(t, seen[0], { code: 'UNAUTHENTICATED', status: 401 })
  t.strictSame([db.queries, hasher.verifications], [3, 1], 'a malformed key costs nothing')
})

t.test('a wrong key that comes again costs nothing for a while', async (t) => {
  const { authenticator, db, hasher, clock, issue } = await setUp({ refusedMs: 500 })
  const key = await issue()
  for (const [token, cost] of [
    [unknownToken(), 0],
    [wrongSecret(key), 1],
  ] as const) {
    const [queries, verifications] = [db.queries, hasher.verifications]
    for (let i = 0; i < 5; i++) await refusal(authenticator, token)
    throwsLike(t, () => authenticator.authenticate(token), { code: 'UNAUTHENTICATED' }, 'at once')
    t.strictSame([db.queries - queries, hasher.verifications - verifications], [1, cost])
    clock.advance(500)
    await refusal(authenticator, token)
    t.strictSame([db.queries - queries, hasher.verifications - verifications], [2, 2 * cost])
  }
})

t.test('all keys of an unknown or revoked id are refused by one look-up', async (t) => {
  const { authenticator, db, hasher, clock, issue } = await setUp({ refusedMs: 500 })
  const revoked = await issue()
  await authenticator.authenticate(tokenOf(revoked))
  await control.query(sql`update lessor.api_keys set revoked_at = now() where id = ${revoked.id}`)
  const { queries } = db
  for (const id of [makeApiKey().keyId, revoked.id]) {
    const tokens = Array.from({ length: 20 }, () =>
      formatApiKey({ keyId: id, secret: makeApiKey().secret }).reveal(),
    )
    const refusals = await Promise.all(tokens.slice(1).map((token) => refusal(authenticator, token)))
    t.strictSame(
      [...new Set(refusals.map((error) => (error as LessorError).code))],
      ['UNAUTHENTICATED'],
      'those that wait together',
    )
    throwsLike(
      t,
      () => authenticator.authenticate(tokens[0] ?? ''),
      { code: 'UNAUTHENTICATED' },
      'and later ones',
    )
  }
  throwsLike(
    t,
    () => authenticator.authenticate(tokenOf(revoked)),
    { code: 'UNAUTHENTICATED' },
    'also the right one',
  )
  t.strictSame([db.queries - queries, hasher.verifications], [2, 1])
  clock.advance(500)
  await refusal(authenticator, tokenOf(revoked))
  t.equal(db.queries - queries, 3)
})

t.test('no more unknown ids are remembered than allowed', async (t) => {
  const { authenticator, db } = await setUp({ maxRemembered: 2 })
  const tokens = [unknownToken(), unknownToken(), unknownToken()]
  for (const token of tokens) await refusal(authenticator, token)
  await refusal(authenticator, tokens[2] ?? '')
  t.equal(db.queries, 3)
  await refusal(authenticator, tokens[0] ?? '')
  t.equal(db.queries, 4)
})

t.test('a wrong secret neither gets in nor pushes the right one out', async (t) => {
  const { authenticator, issue } = await setUp()
  const key = await issue()
  const principal = await authenticator.authenticate(tokenOf(key))
  like(t, await refusal(authenticator, wrongSecret(key)), { code: 'UNAUTHENTICATED' })
  t.equal(authenticator.authenticate(tokenOf(key)), principal)
})

t.test('callers with the same key share one verification', async (t) => {
  const { authenticator, db, hasher, issue } = await setUp()
  const token = tokenOf(await issue())
  const principals = await Promise.all(Array.from({ length: 50 }, () => authenticator.authenticate(token)))
  t.equal(new Set(principals).size, 1)
  const wrong = unknownToken()
  const refusals = await Promise.all(Array.from({ length: 50 }, () => refusal(authenticator, wrong)))
  t.ok(refusals.every((error) => error instanceof LessorError))
  t.strictSame([db.queries, hasher.verifications], [2, 1])
})

t.test('a flood of unknown ids costs two look-ups at once, and locks no rightful key out', async (t) => {
  const { authenticator, db, hasher, clock, issue } = await setUp({ verifiedMs: 1_000 })
  const early = tokenOf(await issue())
  await authenticator.authenticate(early)
  const rightful = await Promise.all(Array.from({ length: 20 }, issue))
  const [queries, verifications] = [db.queries, hasher.verifications]
  const barrier = new Barrier()
  db.before = barrier.pass
  const flood = Array.from({ length: 150 }, () => refusal(authenticator, unknownToken()))
  await barrier.reached
  flood.push(...Array.from({ length: 150 }, () => refusal(authenticator, unknownToken())))
  const served = rightful.map((key) => authenticator.authenticate(tokenOf(key)))
  await new Promise((resolve) => setImmediate(resolve))
  flood.push(...Array.from({ length: 150 }, () => refusal(authenticator, unknownToken())))
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(db.queries - queries, 2, 'all others wait for the third')
  clock.advance(1_000)
  const renewal = authenticator.authenticate(early)
  barrier.open()
  const codes = (await Promise.all(flood)).map((error) => (error as LessorError).code)
  t.strictSame([...new Set(codes)], ['UNAUTHENTICATED'])
  const principals = (await Promise.all(served)) as { keyId: string }[]
  t.strictSame(
    principals.map(({ keyId }) => keyId),
    rightful.map(({ id }) => id),
  )
  like(t, await renewal, { kind: 'api_key' }, 'a verified key does not wait behind them')
  t.strictSame(
    [db.queries - queries, hasher.verifications - verifications],
    [4, 20],
    'the flood costs no argon2',
  )
})

t.test('while 150 callers go on sending unknown ids, rightful keys are served', async (t) => {
  const { authenticator, db, hasher, issue } = await setUp()
  const rightful = await Promise.all(Array.from({ length: 20 }, issue))
  const codes = new Set<unknown>()
  let isOver = false
  const attackers = Array.from({ length: 150 }, async () => {
    while (!isOver) {
      codes.add(((await refusal(authenticator, unknownToken())) as LessorError).code)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  const principals = await Promise.all(rightful.map((key) => authenticator.authenticate(tokenOf(key))))
  isOver = true
  await Promise.all(attackers)
  t.strictSame(
    principals.map((principal) => principal.kind === 'api_key' && principal.keyId),
    rightful.map(({ id }) => id),
  )
  t.strictSame([...codes], ['UNAUTHENTICATED'])
  t.equal(hasher.verifications, 20)
  t.ok(db.mostRunning <= 2)
})

t.test('wrong secrets of a known id are verified one by one, and hold up no other id', async (t) => {
  const { authenticator, db, hasher, issue } = await setUp()
  const attacked = await issue()
  const rightful = await Promise.all(Array.from({ length: 10 }, issue))
  const barrier = new Barrier()
  hasher.before = barrier.pass
  const flood = Array.from({ length: 150 }, () => refusal(authenticator, wrongSecret(attacked)))
  await barrier.reached
  t.equal(hasher.running, 1)
  const served = rightful.map((key) => authenticator.authenticate(tokenOf(key)))
  const holder = authenticator.authenticate(tokenOf(attacked), '192.0.2.7')
  await lookedUp(db)
  barrier.open()
  t.strictSame(
    (await Promise.all([...served, holder])).map(
      (principal) => principal.kind === 'api_key' && principal.keyId,
    ),
    [...rightful, attacked].map(({ id }) => id),
    'all are served, also the holder of the attacked id',
  )
  const codes = (await Promise.all(flood)).map((error) => (error as LessorError).code)
  t.strictSame([...new Set(codes)], ['UNAUTHENTICATED'])
  t.equal(hasher.mostRunning, 2, 'of all ids together')
  const [row] = await control.query<{ hash: string }>(sql`
    select hash from lessor.api_keys where id = ${attacked.id}`)
  const attempts = hasher.started.filter(({ hash }) => hash === row?.hash)
  t.ok(attempts.length <= 3, `${attempts.length} verifications of the attacked id`)
  t.equal(attempts.at(-1)?.secret, parseApiKey(tokenOf(attacked))?.secret.reveal())
  t.equal(hasher.verifications, 10 + attempts.length)

  const { verifications } = hasher
  like(t, await refusal(authenticator, wrongSecret(attacked)), { code: 'UNAUTHENTICATED' })
  t.equal(hasher.verifications, verifications, 'a wrong secret of a verified key costs no argon2')
})

t.test('only what overfills a queue is told to come back', async (t) => {
  const { authenticator, db, hasher, clock, issue } = await setUp({
    maxWaitingPerKey: 3,
    maxLookups: 5,
    verifiedMs: 1_000,
  })
  const [early, late, attacked] = [await issue(), await issue(), await issue()]
  await authenticator.authenticate(tokenOf(early))
  const barrier = new Barrier()
  hasher.before = barrier.pass
  const flood = Array.from({ length: 5 }, () => refusal(authenticator, wrongSecret(attacked)))
  await barrier.reached
  const overfull = await Promise.race(flood)
  like(t, overfull, { code: 'AUTHENTICATION_BUSY', retryAfterSeconds: 1 })
  like(t, authenticator.authenticate(OPERATOR_KEY), { kind: 'operator' }, 'the operator is not kept out')
  like(t, authenticator.authenticate(tokenOf(early)), { keyId: early.id }, 'nor a verified key')
  clock.advance(1_000)
  like(t, await authenticator.authenticate(tokenOf(early)), { keyId: early.id }, 'nor when it is read again')
  barrier.open()
  like(t, await authenticator.authenticate(tokenOf(late)), { keyId: late.id }, 'nor another id')
  const codes = (await Promise.all(flood)).map((error) => (error as LessorError).code)
  t.strictSame(codes.sort(), ['AUTHENTICATION_BUSY', ...Array.from({ length: 4 }, () => 'UNAUTHENTICATED')])

  const gate = new Barrier()
  db.before = gate.pass
  const lookups = []
  for (let i = 0; i < 3; i++) {
    lookups.push(...Array.from({ length: 5 }, () => refusal(authenticator, unknownToken())))
    await new Promise((resolve) => setImmediate(resolve))
  }
  like(t, await refusal(authenticator, unknownToken()), { code: 'AUTHENTICATION_BUSY', retryAfterSeconds: 1 })
  clock.advance(1_000)
  const renewal = authenticator.authenticate(tokenOf(early))
  gate.open()
  like(t, await renewal, { keyId: early.id }, 'a verified key has look-ups of its own')
  t.strictSame(
    [...new Set((await Promise.all(lookups)).map((error) => (error as LessorError).code))],
    ['UNAUTHENTICATED'],
  )
  like(t, await authenticator.authenticate(tokenOf(attacked)), { keyId: attacked.id })
})

t.test('a revocation counts at once when it is told', async (t) => {
  const { authenticator, issue } = await setUp()
  const [key, other] = [await issue(), await issue()]
  const [, principal] = await Promise.all([
    authenticator.authenticate(tokenOf(key)),
    authenticator.authenticate(tokenOf(other)),
  ])
  await revoke(authenticator, key.id)
  like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
  t.equal(authenticator.authenticate(tokenOf(other)), principal, 'and only for this key')
})

t.test("a tenant's keys are forgotten together, and nobody else's", async (t) => {
  const { authenticator, db, owner, issue } = await setUp()
  const mine = [await issue(), await issue()]
  const wide = await keys.issue(control, { ...owner, tenantId: null })
  const other = await keys.issue(control, {
    namespaceId: owner.namespaceId,
    tenantId: await addTenant(control, owner.namespaceId),
  })
  for (const key of [...mine, wide, other]) await authenticator.authenticate(tokenOf(key))
  await control.query(sql`delete from lessor.tenants where id = ${owner.tenantId}`)
  authenticator.forgetTenant(owner.tenantId)
  const queries = db.queries
  for (const key of mine) {
    like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
  }
  t.equal(db.queries, queries + 2)
  t.notOk(authenticator.authenticate(tokenOf(wide)) instanceof Promise)
  t.notOk(authenticator.authenticate(tokenOf(other)) instanceof Promise)
})

/** Where a verification can be held up while its key is revoked. */
const PLACES = {
  'before its row is read': {
    verifications: 0,
    hold: (db: CountingDb, _hasher: CountingHasher, barrier: Barrier) => {
      db.before = barrier.pass
    },
  },
  'after its row was read': {
    verifications: 1,
    hold: (db: CountingDb, _hasher: CountingHasher, barrier: Barrier) => {
      db.after = barrier.pass
    },
  },
  'while argon2 runs': {
    verifications: 1,
    hold: (_db: CountingDb, hasher: CountingHasher, barrier: Barrier) => {
      hasher.before = barrier.pass
    },
  },
}

/** How a process hears that a key ended. */
const TOLD = {
  'by its id': (authenticator: Authenticator, { keyId }: { keyId: string }) => authenticator.forget(keyId),
  'by its tenant': (authenticator: Authenticator, { tenantId }: { tenantId: string }) =>
    authenticator.forgetTenant(tenantId),
  'by missed changes': (authenticator: Authenticator) => authenticator.forgetAll(),
}

for (const [place, { hold, verifications }] of Object.entries(PLACES)) {
  for (const [how, tell] of Object.entries(TOLD)) {
    t.test(`a key that is revoked ${place}, told ${how}, is refused to all who wait`, async (t) => {
      const { authenticator, db, hasher, owner, issue } = await setUp()
      const key = await issue()
      const barrier = new Barrier()
      hold(db, hasher, barrier)
      const early = refusal(authenticator, tokenOf(key))
      await barrier.reached
      await control.query(sql`update lessor.api_keys set revoked_at = now() where id = ${key.id}`)
      tell(authenticator, { keyId: key.id, tenantId: owner.tenantId })
      const late = refusal(authenticator, tokenOf(key))
      barrier.open()
      like(t, await early, { code: 'UNAUTHENTICATED' })
      like(t, await late, { code: 'UNAUTHENTICATED' })
      like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
      t.equal(hasher.verifications, verifications, 'what was proven is not proven again')
    })
  }
}

for (const [how, tell] of Object.entries(TOLD)) {
  t.test(`a key that waits for its turn and is revoked, told ${how}, is refused`, async (t) => {
    const { authenticator, db, hasher, owner, issue } = await setUp({ concurrency: 1 })
    const [first, key] = [await issue(), await issue()]
    const barrier = new Barrier()
    hasher.before = barrier.pass
    const flight = authenticator.authenticate(tokenOf(first))
    await barrier.reached
    const waiting = refusal(authenticator, tokenOf(key))
    await lookedUp(db)
    await control.query(sql`update lessor.api_keys set revoked_at = now() where id = ${key.id}`)
    tell(authenticator, { keyId: key.id, tenantId: owner.tenantId })
    barrier.open()
    like(t, await flight, { keyId: first.id })
    like(t, await waiting, { code: 'UNAUTHENTICATED' })
    like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
    t.equal(hasher.verifications, 2)
  })
}

t.test('a verified key that is revoked while its row is read again is refused', async (t) => {
  const { authenticator, db, clock, issue } = await setUp()
  const key = await issue()
  await authenticator.authenticate(tokenOf(key))
  clock.advance(60_000)
  const barrier = new Barrier()
  db.after = barrier.pass
  const renewal = refusal(authenticator, tokenOf(key))
  await barrier.reached
  await revoke(authenticator, key.id)
  barrier.open()
  like(t, await renewal, { code: 'UNAUTHENTICATED' })
  like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' })
})

t.test('a verification survives the revocation of another key', async (t) => {
  const { authenticator, hasher, issue } = await setUp()
  const [key, other] = [await issue(), await issue()]
  const barrier = new Barrier()
  hasher.before = barrier.pass
  const flight = authenticator.authenticate(tokenOf(key))
  await barrier.reached
  await revoke(authenticator, other.id)
  barrier.open()
  like(t, await flight, { keyId: key.id })
  t.equal(hasher.verifications, 1)
})

t.test('a failure of the control database is passed on and not remembered', async (t) => {
  const { authenticator, db, clock, issue } = await setUp()
  const token = tokenOf(await issue())
  const down = () => Promise.reject(new LessorError('CONTROL_UNAVAILABLE'))
  db.before = down
  like(t, await refusal(authenticator, token), { code: 'CONTROL_UNAVAILABLE' })
  db.before = async () => {}
  const principal = await authenticator.authenticate(token)
  clock.advance(60_000)
  db.before = down
  like(t, await refusal(authenticator, token), { code: 'CONTROL_UNAVAILABLE' })
  db.before = async () => {}
  t.strictSame(await authenticator.authenticate(token), principal)
})

t.test('a verified key is believed while the control database is away, and no other one', async (t) => {
  const clock = new ManualClock()
  const outage = new Outage({ clock, outageMs: 300_000, onBegin() {}, onEnd() {} })
  const { authenticator, db, issue } = await setUp({ clock, outage })
  const [key, other] = [await issue(), await issue()]
  const principal = await authenticator.authenticate(tokenOf(key))
  const down = () => Promise.reject(new LessorError('CONTROL_UNAVAILABLE'))
  db.before = down
  clock.advance(60_000)
  t.equal(await authenticator.authenticate(tokenOf(key)), principal)
  const { queries } = db
  t.equal(authenticator.authenticate(tokenOf(key)), principal, 'from now on at once')
  t.equal(db.queries, queries, 'and without a try')
  like(t, await refusal(authenticator, tokenOf(other)), { code: 'CONTROL_UNAVAILABLE' })
  like(t, await refusal(authenticator, wrongSecret(key)), { code: 'CONTROL_UNAVAILABLE' })
  clock.advance(240_000)
  like(t, await refusal(authenticator, tokenOf(key)), { code: 'CONTROL_UNAVAILABLE' }, 'not for ever')
  db.before = async () => {}
  await control.query(sql`update lessor.api_keys set revoked_at = now() where id = ${key.id}`)
  outage.answered(clock.now())
  like(t, await refusal(authenticator, tokenOf(key)), { code: 'UNAUTHENTICATED' }, 'nor past the end')
})

t.test('who waits for a row that never comes is believed when the outage is found', async (t) => {
  const clock = new ManualClock()
  const outage = new Outage({ clock, outageMs: 300_000, onBegin() {}, onEnd() {} })
  const { authenticator, db, issue } = await setUp({ clock, outage })
  const token = tokenOf(await issue())
  const principal = await authenticator.authenticate(token)
  clock.advance(60_000)
  const barrier = new Barrier()
  db.before = barrier.pass
  const waiting = authenticator.authenticate(token)
  await barrier.reached
  outage.failed(new Error('no answer'))
  t.equal(await waiting, principal)
  authenticator.forgetAll()
  t.ok(authenticator.authenticate(token) instanceof Promise, 'what is forgotten is not believed')
  barrier.open()
})

t.test('a key that is revoked while its row is awaited is not believed in the outage', async (t) => {
  const clock = new ManualClock()
  const outage = new Outage({ clock, outageMs: 300_000, onBegin() {}, onEnd() {} })
  const { authenticator, db, issue } = await setUp({ clock, outage })
  const key = await issue()
  await authenticator.authenticate(tokenOf(key))
  clock.advance(60_000)
  const barrier = new Barrier()
  db.before = barrier.pass
  const waiting = refusal(authenticator, tokenOf(key))
  await barrier.reached
  await revoke(authenticator, key.id)
  outage.failed(new Error('no answer'))
  barrier.open()
  like(t, await waiting, { code: 'UNAUTHENTICATED' })
})

t.test('no more keys are remembered than allowed, the least used go first', async (t) => {
  const { authenticator, issue } = await setUp({ maxRemembered: 2 })
  const [one, two, three] = [tokenOf(await issue()), tokenOf(await issue()), tokenOf(await issue())]
  const known = (token: string): boolean => {
    const answer: Principal | Promise<Principal> = authenticator.authenticate(token)
    return !(answer instanceof Promise)
  }
  await authenticator.authenticate(one)
  await authenticator.authenticate(two)
  t.ok(known(one))
  await authenticator.authenticate(three)
  t.ok(known(one))
  t.ok(known(three))
  for (let i = 0; i < 5; i++) await refusal(authenticator, unknownToken())
  t.ok(known(one), 'wrong keys push no right one out')
  t.notOk(known(two))
  await authenticator.authenticate(two)
})

t.test('inspecting an authenticator shows no key', async (t) => {
  const { authenticator, issue } = await setUp()
  const token = tokenOf(await issue())
  await authenticator.authenticate(token)
  t.equal(inspect(authenticator, { showHidden: true, depth: null }), 'Authenticator {}')
  t.equal(JSON.stringify(authenticator), '{}')
  const error = await refusal(authenticator, `${token}x`)
  t.notOk(inspect(error).includes(token.slice(21)))
})
