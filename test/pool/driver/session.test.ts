import { createHook } from 'node:async_hooks'
import { createHash, createHmac, pbkdf2Sync, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { backendMessage, MESSAGE } from '../../../src/pool/driver/protocol.ts'
import { Session } from '../../../src/pool/driver/session.ts'
import { errorCode, failureOf, openError } from '../../../src/pool/driver-errors.ts'
import { openConnection } from '../../../src/pool/open-connection.ts'
import { type Statement, sql } from '../../../src/pool/statement.ts'
import { Secret } from '../../../src/secret.ts'
import { testDatabase } from '../../support/database.ts'
import { rejectsLike } from '../../support/like.ts'
import { targetOf } from '../../support/target.ts'
import { authentication, fakeServer, greet, type Peer, sessionOf } from './fake-server.ts'

const never = new AbortController().signal
const SASL = 10
const CONTINUE = 11
const FINAL = 12

/** What the client says first in a SCRAM exchange. */
async function scramStart(peer: Peer): Promise<{ readonly bare: string; readonly nonce: string }> {
  await peer.next()
  peer.send(MESSAGE.authentication, authentication(SASL, 'SCRAM-SHA-256\0\0'))
  const { body } = await peer.next()
  const bare = body.toString('utf8').replace(/^.*?n,,/s, '')
  return { bare, nonce: bare.replace(/^.*,r=/, '') }
}

/** refusal opens a connection to a server that sends this as the server-first-message. */
async function refusal(t: Test, first: (nonce: string) => string): Promise<Error> {
  const target = await fakeServer(t, async (peer) => {
    const { nonce } = await scramStart(peer)
    peer.send(MESSAGE.authentication, authentication(CONTINUE, first(nonce)))
    await peer.next()
  })
  return openConnection(target, never).then(
    () => {
      throw new Error('let in')
    },
    (error) => error,
  )
}

const SALT = Buffer.from('a salt of sixteen').toString('base64')

for (const [what, first] of [
  ['no iterations', (nonce: string) => `r=${nonce}x,s=${SALT},i=0`],
  ['more iterations than 100,000', (nonce: string) => `r=${nonce}x,s=${SALT},i=100001`],
  ['so many iterations that the hash would throw', (nonce: string) => `r=${nonce}x,s=${SALT},i=99999999999`],
  ['iterations that are no number', (nonce: string) => `r=${nonce}x,s=${SALT},i=4096x`],
  ['iterations left out', (nonce: string) => `r=${nonce}x,s=${SALT}`],
  ['the nonce of another exchange', () => `r=other,s=${SALT},i=4096`],
  ['only our own nonce', (nonce: string) => `r=${nonce},s=${SALT},i=4096`],
  ['no salt', (nonce: string) => `r=${nonce}x,s=,i=4096`],
  ['a salt that is not base64', (nonce: string) => `r=${nonce}x,s=a salt,i=4096`],
  ['nothing', () => ''],
] as const) {
  t.test(`a server-first-message with ${what} is refused to whom it concerns`, async (t) => {
    const error = await refusal(t, first)
    t.equal(errorCode(error), 'SCRAM_REFUSED')
    t.match(error.message, /^The server's part of the SCRAM login was refused: /)
  })
}

/** serve plays an honest server for the password, but for what `changed` does. */
async function serve(t: Test, changed: { readonly signature?: string; readonly isLeftOut?: boolean }) {
  return fakeServer(t, async (peer) => {
    const { bare, nonce } = await scramStart(peer)
    const salt = randomBytes(16)
    const first = `r=${nonce}server,s=${salt.toString('base64')},i=100000`
    peer.send(MESSAGE.authentication, authentication(CONTINUE, first))
    const answer = (await peer.next()).body.toString('utf8')
    const [, withoutProof = ''] = /^(.*),p=/.exec(answer) ?? []
    const salted = pbkdf2Sync('pencil', salt, 100_000, 32, 'sha256')
    const signed = `${bare},${first},${withoutProof}`
    const clientKey = hmac(salted, 'Client Key')
    const proof = Buffer.from(answer.replace(/^.*,p=/, ''), 'base64')
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed)
    t.strictSame(
      Buffer.from(proof.map((byte, i) => byte ^ (signature[i] ?? 0))),
      clientKey,
      'its proof is right',
    )
    const own = hmac(hmac(salted, 'Server Key'), signed).toString('base64')
    if (!changed.isLeftOut) {
      peer.send(MESSAGE.authentication, authentication(FINAL, `v=${changed.signature ?? own}`))
    }
    peer.send(MESSAGE.authentication, authentication(0))
    peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
    await peer.next()
  })
}

function hmac(key: Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

t.test(
  'a server that proves that it knows the password is logged in to, with 100,000 iterations',
  async (t) => {
    const connection = await openConnection(await serve(t, {}), never)
    t.ok(connection.isUsable)
    connection.destroy()
    await connection.lost
  },
)

t.test('a server that only pretends to know the password is refused', async (t) => {
  for (const signature of [randomBytes(32).toString('base64'), '', 'short', 'x'.repeat(44)]) {
    await rejectsLike(t, openConnection(await serve(t, { signature }), never), { code: 'SCRAM_REFUSED' })
  }
  await rejectsLike(t, openConnection(await serve(t, { isLeftOut: true }), never), {
    code: 'PROTOCOL_VIOLATION',
  })
})

for (const [what, code, script] of [
  [
    'asks for Kerberos',
    'AUTHENTICATION_UNSUPPORTED',
    async (peer: Peer) => {
      await peer.next()
      peer.send(MESSAGE.authentication, authentication(7))
    },
  ],
  [
    'offers other mechanisms only',
    'AUTHENTICATION_UNSUPPORTED',
    async (peer: Peer) => {
      await peer.next()
      peer.send(MESSAGE.authentication, authentication(SASL, 'OAUTHBEARER\0\0'))
    },
  ],
  [
    'sends rows before it lets anybody in',
    'PROTOCOL_VIOLATION',
    async (peer: Peer) => {
      await peer.next()
      peer.send(MESSAGE.dataRow, Buffer.from([0, 0]))
    },
  ],
  [
    'is ready without having accepted the login',
    'PROTOCOL_VIOLATION',
    async (peer: Peer) => {
      await peer.next()
      peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
    },
  ],
  [
    'asks for authentication in a message of a gigabyte',
    'PROTOCOL_VIOLATION',
    async (peer: Peer) => {
      await peer.next()
      peer.socket.write(Buffer.from([MESSAGE.authentication, 0x3f, 0xff, 0xff, 0xff]))
    },
  ],
  [
    'sends a message that is shorter than its own head',
    'PROTOCOL_VIOLATION',
    async (peer: Peer) => {
      await peer.next()
      peer.socket.write(Buffer.from([MESSAGE.authentication, 0, 0, 0, 3]))
    },
  ],
  [
    'sends more settings at once than there are',
    'PROTOCOL_VIOLATION',
    async (peer: Peer) => {
      await peer.next()
      const setting = backendMessage(MESSAGE.parameterStatus, Buffer.from('a\0b\0'))
      peer.socket.end(Buffer.concat(Array.from({ length: 401 }, () => setting)))
    },
  ],
  [
    'sends a key for cancel requests that is too short',
    'PROTOCOL_VIOLATION',
    async (peer: Peer) => {
      await peer.next()
      peer.send(MESSAGE.backendKeyData, Buffer.alloc(7))
    },
  ],
  [
    'sends a request for authentication that is cut off',
    'PROTOCOL_VIOLATION',
    async (peer: Peer) => {
      await peer.next()
      peer.send(MESSAGE.authentication, Buffer.from([0, 0]))
    },
  ],
  [
    'hangs up without a word',
    'CONNECTION_CLOSED',
    async (peer: Peer) => {
      await peer.next()
      peer.socket.end()
    },
  ],
  [
    'refuses in a message that is longer than what is kept of it',
    '28000',
    async (peer: Peer) => {
      await peer.next()
      const fields = `SFATAL\0VFATAL\0C28000\0M${'x'.repeat(1_000_000)}\0\0`
      peer.send(MESSAGE.errorResponse, Buffer.from(fields))
      peer.socket.end()
    },
  ],
] as const) {
  t.test(`a server that ${what} is told to its caller`, async (t) => {
    const error: unknown = await openConnection(await fakeServer(t, script), never).catch((reason) => reason)
    t.equal(errorCode(error), code)
  })
}

t.test('a server that says no end of settings and notices is read as well', async (t) => {
  const target = await fakeServer(t, async (peer) => {
    await peer.next()
    for (let i = 0; i < 50; i++) peer.send(MESSAGE.notice, Buffer.from(`M${'x'.repeat(100_000)}\0\0`))
    peer.send(MESSAGE.parameterStatus, Buffer.from('in_hot_standby\0off\0'))
    peer.send(MESSAGE.authentication, authentication(0))
    peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
    await peer.next()
  })
  const connection = await openConnection(target, never)
  t.ok(connection.isUsable)
  connection.destroy()
  await connection.lost
})

t.test('a login that is given up writes nothing more, and waits until the server has hung up', async (t) => {
  const reason = new Error('too late')
  const heard: string[] = []
  const { promise: isAsked, resolve: asked } = Promise.withResolvers<void>()
  let hasHungUp = false
  const target = await fakeServer(t, async (peer) => {
    peer.socket.on('data', (chunk: Buffer) => heard.push(chunk.toString('latin1')))
    peer.socket.allowHalfOpen = true
    const ended = once(peer.socket, 'end')
    asked()
    await ended
    for (let i = 0; i < 10; i++) await new Promise(setImmediate)
    // What would make a client go on.
    peer.send(MESSAGE.authentication, authentication(3))
    hasHungUp = true
    peer.socket.end()
  })
  const controller = new AbortController()
  const opening = openConnection(target, controller.signal).catch((error: unknown) => ({ error, hasHungUp }))
  await isAsked
  while (heard.length === 0) await new Promise(setImmediate)
  controller.abort(reason)
  t.strictSame(await opening, { error: reason, hasHungUp: true })
  t.equal(heard.length, 1, 'the start-up packet and nothing else')
})

t.test('a login that is given up while it hashes writes nothing either, when it has its hash', async (t) => {
  const reason = new Error('too late')
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
  const { promise: isHashed, resolve: hashed } = Promise.withResolvers<void>()
  let id: number | undefined
  const hook = createHook({
    init(asyncId, type) {
      if (type !== 'PBKDF2REQUEST' || id !== undefined) return
      id = asyncId
      begin()
    },
    after(asyncId) {
      if (asyncId === id) hashed()
    },
  })
  hook.enable()
  t.teardown(() => hook.disable())
  let hasHungUp = false
  const target = await fakeServer(t, async (peer) => {
    const { nonce } = await scramStart(peer)
    peer.socket.allowHalfOpen = true
    peer.send(MESSAGE.authentication, authentication(CONTINUE, `r=${nonce}x,s=${SALT},i=4096`))
    await isHashed
    for (let i = 0; i < 10; i++) await new Promise(setImmediate)
    hasHungUp = true
    peer.socket.end()
  })
  const controller = new AbortController()
  const opening = openConnection(target, controller.signal).catch((error: unknown) => ({ error, hasHungUp }))
  await begun
  controller.abort(reason)
  t.strictSame(await opening, { error: reason, hasHungUp: true })
})

t.test('a login that we refuse is over when the server has hung up as well', async (t) => {
  let hasHungUp = false
  const target = await fakeServer(t, async (peer) => {
    const { nonce } = await scramStart(peer)
    peer.socket.allowHalfOpen = true
    const ended = once(peer.socket, 'end')
    peer.send(MESSAGE.authentication, authentication(CONTINUE, `r=${nonce}x,s=${SALT},i=0`))
    await ended
    for (let i = 0; i < 10; i++) await new Promise(setImmediate)
    hasHungUp = true
    peer.socket.end()
  })
  const opening = openConnection(target, never).catch((error: unknown) => [errorCode(error), hasHungUp])
  t.strictSame(await opening, ['SCRAM_REFUSED', true])
})

t.test('a session on a socket that has closed already is closed', async (t) => {
  const { socket } = await sessionOf(t)
  socket.destroy()
  await once(socket, 'close')
  const session = new Session(socket)
  t.equal(session.isBroken, true)
  const closed = session.closed.then(() => 'closed')
  t.equal(await Promise.race([closed, new Promise(setImmediate)]), 'closed')
})

t.test('a session is broken as soon as its server has hung up', async (t) => {
  const { session, socket, peer } = await sessionOf(t)
  const seen: boolean[] = []
  socket.on('end', () => seen.push(session.isBroken))
  socket.on('close', () => seen.push(session.isBroken))
  t.equal(session.isBroken, false)
  peer.socket.end()
  await session.closed
  t.strictSame(seen, [true, true])
})

t.test('a session that is closed says goodbye', async (t) => {
  const { promise: said, resolve: say } = Promise.withResolvers<string>()
  const target = await fakeServer(t, async (peer) => {
    await greet(peer)
    say(
      await peer.next().then(
        ({ type }) => type,
        () => 'nothing',
      ),
    )
  })
  const connection = await openConnection(target, never)
  await connection.close()
  t.equal(await said, 'X')
})

const READY = backendMessage(MESSAGE.readyForQuery, Buffer.from('I'))
const LET_IN = backendMessage(MESSAGE.authentication, authentication(0))

function setting(name: string, value: string): Buffer {
  return backendMessage(MESSAGE.parameterStatus, Buffer.from(`${name}\0${value}\0`))
}

t.test('what comes right behind the log-in belongs to no log-in, and hurts nothing', async (t) => {
  const notification = backendMessage(MESSAGE.notification, Buffer.from('\0\0\0\x07room\0said\0'))
  const target = await fakeServer(t, async (peer) => {
    await peer.next()
    peer.socket.write(Buffer.concat([LET_IN, READY, notification]))
    await peer.next()
    peer.socket.end(
      Buffer.concat([backendMessage(MESSAGE.commandComplete, Buffer.from('SELECT 0\0')), READY]),
    )
  })
  const connection = await openConnection(target, never)
  t.equal(await connection.script('select from nothing'), undefined)
  await connection.lost
})

t.test('whether a session takes writes is what its server has reported last', async (t) => {
  const standby = await fakeServer(t, async (peer) => {
    await peer.next()
    peer.socket.write(Buffer.concat([LET_IN, setting('in_hot_standby', 'on'), READY]))
    await peer.next()
  })
  await rejectsLike(t, openConnection(standby, never), { code: 'NO_PRIMARY' })

  const complete = backendMessage(MESSAGE.commandComplete, Buffer.from('SET\0'))
  const target = await fakeServer(t, async (peer) => {
    await peer.next()
    const settings = [setting('in_hot_standby', 'off'), setting('default_transaction_read_only', 'off')]
    peer.socket.write(Buffer.concat([LET_IN, ...settings, READY]))
    for (const [name, value] of [
      ['default_transaction_read_only', 'on'],
      ['in_hot_standby', 'on'],
      ['TimeZone', 'UTC'],
      ['in_hot_standby', 'off'],
      ['default_transaction_read_only', 'off'],
    ] as const) {
      await peer.next()
      peer.socket.write(Buffer.concat([complete, setting(name, value), READY]))
    }
    await peer.next()
  })
  const connection = await openConnection(target, never)
  const seen = [connection.standing]
  for (let i = 0; i < 5; i++) {
    await connection.script('set')
    seen.push(connection.standing)
  }
  t.strictSame(seen, ['writable', 'read-only', 'standby', 'standby', 'read-only', 'writable'])
  connection.destroy()
  await connection.lost
})

/** A login of its own, whose verifier it has set by itself. */
async function ownVerifier(t: Test, verifier: (salt: string) => string) {
  const { url } = await testDatabase(t)
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  const user = `odd_${randomUUID().slice(0, 8)}`
  await admin.unsafe(`create role ${user} login password 'pencil'`)
  t.teardown(async () => {
    await admin.unsafe(`drop role ${user}`)
    await admin.end()
  })
  const target = targetOf(url, { user, password: new Secret('pencil') })
  const connection = await openConnection(target, never)
  const text = verifier(SALT)
  await connection.script(`alter role current_user password '${text}'`)
  await connection.close()
  return target
}

const KEYS = `${'A'.repeat(43)}=:${'A'.repeat(43)}=`

t.test('a login that set its own verifier to odd iterations hurts itself alone', async (t) => {
  for (const iterations of [0, 200_000]) {
    const target = await ownVerifier(t, (salt) => `SCRAM-SHA-256$${iterations}:${salt}$${KEYS}`)
    await rejectsLike(t, openConnection(target, never), { code: 'SCRAM_REFUSED' }, `${iterations}`)
  }
})

t.test('md5 and plain passwords, where a server asks for them', async (t) => {
  const salt = Buffer.from([1, 2, 3, 4])
  const inner = createHash('md5').update('penciltenant').digest('hex')
  const expected = `md5${createHash('md5').update(inner).update(salt).digest('hex')}\0`
  for (const [kind, data, answer] of [
    [5, salt, expected],
    [3, Buffer.alloc(0), 'pencil\0'],
  ] as const) {
    const heard: string[] = []
    const target = await fakeServer(t, async (peer) => {
      await peer.next()
      peer.send(MESSAGE.authentication, authentication(kind, data))
      const { type, body } = await peer.next()
      heard.push(type, body.toString('latin1'))
      peer.send(MESSAGE.authentication, authentication(0))
      peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
      await peer.next()
    })
    const connection = await openConnection(target, never)
    t.strictSame(heard, ['p', answer])
    connection.destroy()
    await connection.lost
  }
})

t.test('a password that is not ASCII is prepared as the server prepares it', async (t) => {
  const { url } = await testDatabase(t)
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  const user = `odd_${randomUUID().slice(0, 8)}`
  // A ligature, a no-break space and a soft hyphen: RFC 4013, section 3 and 2.1 to 2.3.
  const password = 'pass\u00a0wo\u00adrd \ufb01 \u00e9'
  await admin.unsafe(`create role ${user} login password '${password}'`)
  t.teardown(async () => {
    await admin.unsafe(`drop role ${user}`)
    await admin.end()
  })
  const connection = await openConnection(targetOf(url, { user, password: new Secret(password) }), never)
  t.strictSame([...(await connection.run(sql`select 1 as one`).result)], [{ one: 1 }])
  await connection.close()
})

for (const [what, type, body] of [
  ['a request for a password in the midst of a session', MESSAGE.authentication, authentication(3)],
  ['a message of a type that there is not', 0x21, Buffer.from('?')],
  ['a description that is longer than any', MESSAGE.rowDescription, Buffer.alloc(2_000_000)],
  ['a row that is too short for one', MESSAGE.dataRow, Buffer.from([0])],
  [
    'a description whose name has no end',
    MESSAGE.rowDescription,
    Buffer.concat([Buffer.from([0, 1]), Buffer.from('abc')]),
  ],
  [
    'a description of fewer columns than it says',
    MESSAGE.rowDescription,
    Buffer.concat([Buffer.from([0, 2, 0x61, 0]), Buffer.alloc(18)]),
  ],
  [
    'a description with something behind it',
    MESSAGE.rowDescription,
    Buffer.concat([Buffer.from([0, 1, 0x61, 0]), Buffer.alloc(19)]),
  ],
  ['a ReadyForQuery with a status that there is not', MESSAGE.readyForQuery, Buffer.from('X')],
  ['a ReadyForQuery without an answer', MESSAGE.readyForQuery, Buffer.from('I')],
] as const) {
  t.test(`a server that sends ${what} is left, and who waits is told`, async (t) => {
    const target = await fakeServer(t, async (peer) => {
      await greet(peer)
      await peer.next()
      peer.send(type, body)
    })
    const connection = await openConnection(target, never)
    const [first, second] = await Promise.allSettled([
      connection.run(sql`select 1`).result,
      connection.run(sql`select 2`).result,
    ])
    for (const { status, reason } of [first, second] as PromiseRejectedResult[]) {
      t.equal(status, 'rejected')
      t.equal(errorCode(reason), 'CONNECTION_CLOSED')
    }
    await connection.lost
    t.notOk(connection.isUsable)
  })
}

t.test('a row without a statement is no answer, and ends the session', async (t) => {
  const { promise: isOpen, resolve } = Promise.withResolvers<void>()
  const target = await fakeServer(t, async (peer) => {
    await greet(peer)
    await isOpen
    peer.send(MESSAGE.dataRow, Buffer.from([0, 0]))
  })
  const connection = await openConnection(target, never)
  resolve()
  await connection.lost
  t.notOk(connection.isUsable)
})

for (const type of [MESSAGE.commandComplete, MESSAGE.emptyQuery]) {
  t.test(
    `a server that answers a description with message ${type} is left, and who waits is told`,
    async (t) => {
      const target = await fakeServer(t, async (peer) => {
        await greet(peer)
        await peer.next()
        peer.send(type, Buffer.from('SELECT 1\0'))
        peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
      })
      const connection = await openConnection(target, never)
      const error: unknown = await connection.run(sql`select ${'a'}::text`).result.catch((reason) => reason)
      t.equal(errorCode(error), 'CONNECTION_CLOSED')
      await connection.lost
    },
  )
}

t.test(
  'a server that hangs up and reads no more is left at once, whatever is still to be sent',
  async (t) => {
    const { promise: isOpen, resolve } = Promise.withResolvers<void>()
    const target = await fakeServer(t, async (peer) => {
      await greet(peer)
      peer.socket.pause()
      await isOpen
      peer.socket.end()
    })
    const connection = await openConnection(target, never)
    const large = connection.run(statementOf(`select '${'x'.repeat(20_000_000)}'`))
    resolve()
    const error: unknown = await large.result.catch((reason) => reason)
    t.equal(errorCode(error), 'CONNECTION_CLOSED')
    await connection.lost
  },
)

function statementOf(text: string): Statement {
  return sql(Object.assign([text], { raw: [text] }) as unknown as TemplateStringsArray)
}

t.test('a server that floods the log-in, or an idle session, is left', async (t) => {
  const flood = async (peer: Peer) => {
    for (let i = 0; i < 5_000; i++) peer.send(MESSAGE.parameterStatus, Buffer.from('a\0b\0'))
  }
  const early = await fakeServer(t, async (peer) => {
    await peer.next()
    await flood(peer)
  })
  await rejectsLike(t, openConnection(early, never), { code: 'PROTOCOL_VIOLATION' })
  const { promise: isOpen, resolve } = Promise.withResolvers<void>()
  const late = await fakeServer(t, async (peer) => {
    await greet(peer)
    await isOpen
    await flood(peer)
  })
  const connection = await openConnection(late, never)
  resolve()
  await connection.lost
  t.notOk(connection.isUsable)
})

t.test('a server that asks for SCRAM and lets in without it is refused', async (t) => {
  const target = await fakeServer(t, async (peer) => {
    await peer.next()
    peer.send(MESSAGE.authentication, authentication(SASL, 'SCRAM-SHA-256\0\0'))
    peer.send(MESSAGE.authentication, authentication(0))
    peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
  })
  await rejectsLike(t, openConnection(target, never), { code: 'PROTOCOL_VIOLATION' })
})

t.test('what a role has set for itself fails its own login, and is no failure of the server', async (t) => {
  const target = await ownVerifier(t, () => '')
  const admin = postgres((await testDatabase(t)).url, { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end())
  const failure = async () => {
    const error: unknown = await openConnection(target, never).catch((reason) => reason)
    return failureOf(openError(error))
  }
  await admin.unsafe(`alter role ${target.user} password 'pencil' connection limit 0`)
  t.strictSame(await failure(), { scope: 'tenant', code: '53300' })
  await admin
    .unsafe(`alter role ${target.user} connection limit -1 set local_preload_libraries = 'nope'`)
    .catch(() => {})
  await admin.unsafe(`alter role ${target.user} connection limit -1`)
  await admin.unsafe(`alter role ${target.user} set local_preload_libraries = 'nope'`)
  t.strictSame(await failure(), { scope: 'tenant', code: '58P01' })
})

t.test(
  'a description that fails behind its end, as by a time limit, costs its statement alone',
  async (t) => {
    const types: string[] = []
    const target = await fakeServer(t, async (peer) => {
      await greet(peer)
      for (let i = 0; i < 3; i++) types.push((await peer.next()).type)
      peer.send(MESSAGE.parameterDescription, Buffer.from([0, 1, 0, 0, 0, 25]))
      peer.send(MESSAGE.rowDescription, Buffer.from([0, 0]))
      peer.send(MESSAGE.errorResponse, Buffer.from('SERROR\0VERROR\0C57014\0Mstatement timeout\0\0'))
      types.push((await peer.next()).type)
      peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
      types.push((await peer.next()).type)
      peer.send(MESSAGE.commandComplete, Buffer.from('SELECT 0\0'))
      peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
      await peer.next()
    })
    const connection = await openConnection(target, never)
    await rejectsLike(t, connection.run(sql`select ${'a'}::text`).result, {
      code: '57014',
      name: 'PostgresError',
    })
    await connection.script('select 1')
    t.strictSame(types, ['P', 'D', 'H', 'S', 'Q'])
    connection.destroy()
    await connection.lost
  },
)
