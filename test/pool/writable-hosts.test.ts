import t from 'tap'
import type { ServerWay, Standing } from '../../src/pool/contract.ts'
import { failureOf, openError } from '../../src/pool/driver-errors.ts'
import { type Endpoint, type Opened, standingOf, WritableHosts } from '../../src/pool/writable-hosts.ts'
import { rejectsLike } from '../support/like.ts'

const never = new AbortController().signal
/** So long that no endpoint is given up for being slow. */
const PATIENT = { firstMs: 60_000 }

/** Behaviour is what an address does when it is opened; `silent` answers nothing until it is given up. */
type Behaviour = Standing | 'silent' | Error

/** Network is the endpoints of a test, with what they do and what became of their connections. */
class Network {
  readonly addresses: Record<string, readonly string[]>
  readonly behaviour: Record<string, Behaviour>
  /** Endpoints in the order in which they were tried, with those that were given up. */
  readonly log: string[] = []
  open = 0
  most = 0

  constructor(behaviour: Record<string, Behaviour>, addresses: Record<string, readonly string[]> = {}) {
    this.behaviour = behaviour
    this.addresses = addresses
  }

  hosts(options: { firstMs?: number } = PATIENT): WritableHosts {
    return new WritableHosts({
      ...options,
      resolve: async (host) => {
        const found = this.addresses[host]
        if (found === undefined) throw withCode('ENOTFOUND')
        return found
      },
    })
  }

  readonly connect = async ({ host, port, address = host }: Endpoint, signal: AbortSignal): Promise<Fake> => {
    const behaviour = this.behaviour[address]
    this.log.push(address)
    if (behaviour === undefined || behaviour instanceof Error) throw behaviour ?? withCode('ECONNREFUSED')
    if (behaviour === 'silent') {
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      }).finally(() => this.log.push(`${address} given up`))
      throw new Error('bug: it cannot be answered')
    }
    this.open += 1
    this.most = Math.max(this.most, this.open)
    return new Fake(`${host}:${port} ${address}`, behaviour, () => {
      this.open -= 1
    })
  }
}

class Fake implements Opened {
  readonly name: string
  readonly standing: Standing
  readonly lost: Promise<void>
  readonly #end: () => void

  constructor(name: string, standing: Standing, onEnd: () => void) {
    const ended = Promise.withResolvers<void>()
    this.name = name
    this.standing = standing
    this.lost = ended.promise
    this.#end = () => {
      onEnd()
      ended.resolve()
    }
  }

  async close(): Promise<void> {
    this.#end()
  }

  destroy(): void {
    this.#end()
  }
}

function withCode(code: string): Error {
  return Object.assign(new Error(`${code} of a test`), { code })
}

/** way names hosts with port 1, the first one and its alternates. */
function way(host: string, ...alternates: string[]): ServerWay {
  return { host, port: 1, alternates: alternates.map((each) => ({ host: each, port: 1 })), tls: 'disable' }
}

t.test('what a server reports says whether it takes writes', async (t) => {
  t.equal(standingOf({}), 'writable')
  t.equal(standingOf({ in_hot_standby: 'off', default_transaction_read_only: 'off' }), 'writable')
  t.equal(standingOf({ in_hot_standby: 'off', default_transaction_read_only: 'on' }), 'read-only')
  t.equal(standingOf({ in_hot_standby: 'on', default_transaction_read_only: 'on' }), 'standby')
})

t.test(
  'the first host that takes writes is used, and what was opened before is closed by then',
  async (t) => {
    const network = new Network({
      '10.0.0.1': withCode('ECONNREFUSED'),
      '10.0.0.2': 'standby',
      '10.0.0.3': 'writable',
    })
    const found = await network.hosts().open(way('10.0.0.1', '10.0.0.2', '10.0.0.3'), network.connect, never)
    t.equal(found.name, '10.0.0.3:1 10.0.0.3')
    t.strictSame(network.log, ['10.0.0.1', '10.0.0.2', '10.0.0.3'])
    t.strictSame([network.open, network.most], [1, 1], 'there was never more than one connection')
  },
)

t.test('every address of a name is tried, and names are resolved at each opening', async (t) => {
  const network = new Network(
    { '10.0.0.1': 'standby', '10.0.0.2': 'writable', '10.0.0.3': 'writable', '/run/pg': 'standby' },
    { db: ['10.0.0.1', '10.0.0.1', '10.0.0.2'] },
  )
  const hosts = network.hosts()
  t.equal((await hosts.open(way('/run/pg', 'db'), network.connect, never)).name, 'db:1 10.0.0.2')
  t.strictSame(network.log, ['/run/pg', '10.0.0.1', '10.0.0.2'])
  network.addresses.db = ['10.0.0.3']
  t.equal((await hosts.open(way('/run/pg', 'db'), network.connect, never)).name, 'db:1 10.0.0.3')
})

t.test(
  'the host that took writes last is tried first, and another one when it takes none any more',
  async (t) => {
    const network = new Network({ '10.0.0.1': 'standby', '10.0.0.2': 'writable' })
    const hosts = network.hosts()
    const next = async () => {
      network.log.length = 0
      const found = await hosts.open(way('10.0.0.1', '10.0.0.2'), network.connect, never)
      await found.close()
      return network.log
    }
    t.strictSame(await next(), ['10.0.0.1', '10.0.0.2'])
    t.strictSame(await next(), ['10.0.0.2'])
    Object.assign(network.behaviour, { '10.0.0.1': 'writable', '10.0.0.2': 'standby' })
    t.strictSame(await next(), ['10.0.0.2', '10.0.0.1'])
    t.strictSame(await next(), ['10.0.0.1'])
  },
)

t.test(
  'a host that does not answer does not hold up the opening, and has more time when the others fail',
  async (t) => {
    const network = new Network({ '10.0.0.1': 'silent', '10.0.0.2': 'writable' })
    const hosts = network.hosts({ firstMs: 1 })
    t.equal(
      (await hosts.open(way('10.0.0.1', '10.0.0.2'), network.connect, never)).name,
      '10.0.0.2:1 10.0.0.2',
    )
    t.strictSame(network.log, ['10.0.0.1', '10.0.0.1 given up', '10.0.0.2'])

    const slow = new Network({ '10.0.0.1': 'silent', '10.0.0.2': 'standby' })
    const connect = async (endpoint: Endpoint, signal: AbortSignal) => {
      if (slow.log.includes('10.0.0.1 given up')) slow.behaviour['10.0.0.1'] = 'writable'
      return slow.connect(endpoint, signal)
    }
    const found = await slow.hosts({ firstMs: 1 }).open(way('10.0.0.1', '10.0.0.2'), connect, never)
    t.equal(found.name, '10.0.0.1:1 10.0.0.1')
    t.strictSame(slow.log, ['10.0.0.1', '10.0.0.1 given up', '10.0.0.2', '10.0.0.1'])
  },
)

t.test('the last one that can answer has all the time there is', async (t) => {
  const network = new Network({ '10.0.0.1': withCode('ECONNREFUSED'), '10.0.0.2': 'silent' })
  const stop = new AbortController()
  const opening = network
    .hosts({ firstMs: 1 })
    .open(way('10.0.0.1', '10.0.0.2'), network.connect, stop.signal)
  const reason = new Error('too late')
  setTimeout(() => stop.abort(reason), 50)
  t.equal(await opening.catch((error: unknown) => error), reason)
  t.strictSame(network.log, ['10.0.0.1', '10.0.0.2', '10.0.0.2 given up'])
})

t.test('an abort ends the search, also while a name is resolved', async (t) => {
  const reason = new Error('stop')
  const hosts = new WritableHosts({ resolve: () => new Promise(() => {}) })
  const connect = async () => t.fail('nothing is to be opened') as never
  t.equal(
    await hosts.open(way('db'), connect, AbortSignal.abort(reason)).catch((error: unknown) => error),
    reason,
  )
  const stop = new AbortController()
  const opening = hosts.open(way('db'), connect, stop.signal)
  stop.abort(reason)
  t.equal(await opening.catch((error: unknown) => error), reason)
})

t.test('a session that is read only by a setting is used when there is no better one', async (t) => {
  const single = new Network({ '10.0.0.1': 'read-only' })
  t.equal((await single.hosts().open(way('10.0.0.1'), single.connect, never)).standing, 'read-only')
  t.strictSame(single.log, ['10.0.0.1'], 'by one login, since there is no other')

  const better = new Network({ '10.0.0.1': 'read-only', '10.0.0.2': 'writable' })
  t.equal(
    (await better.hosts().open(way('10.0.0.1', '10.0.0.2'), better.connect, never)).name,
    '10.0.0.2:1 10.0.0.2',
  )

  const none = new Network({ '10.0.0.1': 'read-only', '10.0.0.2': 'standby', '10.0.0.3': 'silent' })
  const hosts = none.hosts({ firstMs: 1 })
  t.equal(
    (await hosts.open(way('10.0.0.1', '10.0.0.2', '10.0.0.3'), none.connect, never)).name,
    '10.0.0.1:1 10.0.0.1',
  )
  t.equal(none.most, 1)

  let logins = 0
  const demoted = new Network({ '10.0.0.1': 'read-only', '10.0.0.2': 'standby' })
  const connect = async (endpoint: Endpoint, signal: AbortSignal) => {
    logins += 1
    if (logins === 3) demoted.behaviour['10.0.0.1'] = 'standby'
    return demoted.connect(endpoint, signal)
  }
  await rejectsLike(t, demoted.hosts().open(way('10.0.0.1', '10.0.0.2'), connect, never), {
    code: 'NO_PRIMARY',
  })
  t.equal(demoted.open, 0)
})

t.test(
  'where no host takes writes, the error names all that was tried and is the failure of the server',
  async (t) => {
    const network = new Network(
      {
        '10.0.0.1': withCode('ECONNREFUSED'),
        '10.0.0.2': 'standby',
        '10.0.0.3': new Error('It speaks no TLS.'),
      },
      { db: ['10.0.0.2'] },
    )
    const error: unknown = await network
      .hosts()
      .open(way('10.0.0.1', 'db', 'gone', '10.0.0.3'), network.connect, never)
      .catch((error: unknown) => error)
    t.equal(
      error instanceof Error && error.message,
      'No host of the server takes writes: gone:1 failed (ENOTFOUND); 10.0.0.1:1 failed (ECONNREFUSED); ' +
        'db:1 (10.0.0.2) is a standby; 10.0.0.3:1 failed: It speaks no TLS.',
    )
    t.strictSame(failureOf(openError(error)), { scope: 'server', code: 'NO_PRIMARY' })
    const single = new Network({ '10.0.0.2': 'standby' })
    const refused: unknown = await single
      .hosts()
      .open(way('10.0.0.2'), single.connect, never)
      .catch((e: unknown) => e)
    t.strictSame(failureOf(openError(refused)), { scope: 'server', code: 'NO_PRIMARY' })
  },
)

t.test(
  'a login that was refused counts more than a standby, and the only failure is told as it is',
  async (t) => {
    const refusal = withCode('28P01')
    const both = new Network({ '10.0.0.1': 'standby', '10.0.0.2': refusal })
    const error: unknown = await both
      .hosts()
      .open(way('10.0.0.1', '10.0.0.2'), both.connect, never)
      .catch((e: unknown) => e)
    t.strictSame(failureOf(openError(error)), { scope: 'tenant', code: '28P01' })
    const single = new Network({ '10.0.0.1': refusal })
    t.equal(
      await single
        .hosts()
        .open(way('10.0.0.1'), single.connect, never)
        .catch((e: unknown) => e),
      refusal,
    )
    const unknown = new Network({}, { empty: [] })
    await rejectsLike(t, unknown.hosts().open(way('gone'), unknown.connect, never), { code: 'ENOTFOUND' })
    await rejectsLike(t, unknown.hosts().open(way('empty'), unknown.connect, never), { code: 'ENOTFOUND' })
  },
)

t.test('a standby that does not say goodbye is dropped', async (t) => {
  const network = new Network({ '10.0.0.1': 'standby', '10.0.0.2': 'writable' })
  let dropped = 0
  const connect = async (endpoint: Endpoint, signal: AbortSignal): Promise<Fake> => {
    const fake = await network.connect(endpoint, signal)
    const { destroy } = fake
    fake.close = () => (dropped === 0 ? Promise.reject(new Error('no goodbye')) : Promise.resolve())
    fake.destroy = () => {
      dropped += 1
      setImmediate(() => destroy.call(fake))
    }
    return fake
  }
  const found = await network.hosts().open(way('10.0.0.1', '10.0.0.2'), connect, never)
  t.strictSame([found.name, dropped, network.open, network.most], ['10.0.0.2:1 10.0.0.2', 1, 1, 1])
})
