import { Readable } from 'node:stream'
import t from 'tap'
import { createTenants, tenantsCommand } from '../../src/cli/tenants-command.ts'
import { parseTenantsArgs, type TenantsOptions } from '../../src/cli/tenants-options.ts'
import { LessorError } from '../../src/errors.ts'
import type { BatchRecord } from '../../src/tenants/batch.ts'
import type { CreateTenants } from '../../src/tenants/parse-batch.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { testIo } from './io.ts'

const NO_INPUT = Readable.from([])
const NEVER = new AbortController().signal

function parse(...args: string[]): Promise<TenantsOptions> {
  return parseTenantsArgs(['create', ...args], NO_INPUT, NEVER)
}

t.test('names come from the arguments, a file, standard input, or a count', async (t) => {
  t.strictSame([...(await parse('acme', 'beta')).names.all], ['acme', 'beta'])
  const directory = t.testdir({ 'names.txt': 'acme\n\n  beta\r\n' })
  const file = await parse('--file', `${directory}/names.txt`)
  t.strictSame([...file.names.all], ['acme', '  beta'])
  t.equal(file.names.total, 2)
  const piped = await parseTenantsArgs(['create', '--file', '-'], Readable.from(['one\ntw', 'o\n']), NEVER)
  t.strictSame([...piped.names.all], ['one', 'two'])
  const counted = await parse('--count', '3', '--prefix', 'x-')
  t.strictSame([...counted.names.all], ['x-000001', 'x-000002', 'x-000003'])
  t.strictSame([...counted.names.all].length, 3, 'also a second time')
  t.equal((await parse('--count', '10000000')).names.total, 10_000_000)
})

t.test('the rest says where they belong', async (t) => {
  const options = await parse(
    'acme',
    '--namespace',
    'shop',
    '--server',
    'two',
    '--label',
    'zone=a=b',
    '--batch',
    '7',
  )
  like(t, options, { namespace: 'shop', server: 'two', labels: { zone: 'a=b' }, batch: 7 })
  like(t, await parse('acme'), { namespace: undefined, server: undefined, labels: undefined, batch: 1000 })
})

t.test('arguments that make no sense are refused before anything is made', async (t) => {
  for (const [args, message] of [
    [[], /Say what to do/],
    [['remove'], /Say what to do/],
    [['create'], /Name the tenants/],
    [['create', 'acme', '--count', '2'], /Name the tenants/],
    [['create', '--count', '0'], /--count must be a number from 1 to 100000000, not "0"/],
    [['create', '--count', '1e3'], /--count must be a number/],
    [['create', 'acme', '--batch', '1001'], /--batch must be a number from 1 to 1000/],
    [['create', 'acme', '--prefix', 'x'], /--prefix goes with --count/],
    [['create', 'acme', '--label', 'zone'], /--label must be key=value, not "zone"/],
    [['create', '--count', '5', '--prefix', 'x'.repeat(200)], /--prefix: The name must have 1 to 200/],
    [['create', 'acme', 'be\u0007ta'], /name 2: The name must have no control characters/],
    [['create', '--nothing'], /Unknown option/],
  ] as const) {
    await rejectsLike(t, parseTenantsArgs(args, NO_INPUT, NEVER), { message })
  }
  const directory = t.testdir({ 'names.txt': `acme\n\n${'x'.repeat(201)}\n` })
  await rejectsLike(t, parse('--file', `${directory}/names.txt`), {
    name: 'UsageError',
    message: /names\.txt, line 3: The name/,
  })
  await rejectsLike(t, parse('--file', `${directory}/none.txt`), { code: 'ENOENT' })
})

/** A service that knows which names are taken, and answers as the real one does. */
function standIn(taken: readonly string[] = []) {
  const calls: CreateTenants[] = []
  return {
    calls,
    async onboardBatch(request: CreateTenants): Promise<readonly BatchRecord[]> {
      calls.push(request)
      return request.tenants.map(({ name }): BatchRecord => {
        if (name === 'odd') return { error: { code: 'INVALID_REQUEST', detail: 'It is odd.' } }
        if (taken.includes(name)) return { error: { code: 'TENANT_NAME_TAKEN', detail: 'Taken.' } }
        return { tenant: {} as never }
      })
    },
  }
}

t.test('they are made in batches, with a bar for who watches', async (t) => {
  const service = standIn()
  const io = testIo({ isInteractive: true })
  t.equal(
    await createTenants(service, await parse('--count', '25', '--batch', '10', '--namespace', 'shop'), io),
    0,
  )
  t.strictSame(
    service.calls.map(({ tenants, namespace }) => [tenants.length, namespace]),
    [
      [10, 'shop'],
      [10, 'shop'],
      [5, 'shop'],
    ],
  )
  t.match(io.err(), /100% +25 of 25 tenants/)
  t.match(io.out(), /^25 created, 0 already there, 0 failed, in \d+\.\d s \(\d+ created\/s\)\n$/)
})

t.test('what is there is skipped and counted, what fails is told', async (t) => {
  const io = testIo()
  t.equal(await createTenants(standIn(['acme']), await parse('acme', 'beta'), io), 0)
  t.match(io.out(), /^1 created, 1 already there, 0 failed/)
  t.equal(io.err(), '')
  const failing = testIo()
  t.equal(await createTenants(standIn(), await parse('acme', 'odd'), failing), 1)
  t.match(failing.out(), /^1 created, 0 already there, 1 failed/)
  t.match(failing.err(), /^It is odd\. \(INVALID_REQUEST\)\n$/)
})

t.test('interrupted, it ends after the batches under way and says that it can go on', async (t) => {
  const stop = new AbortController()
  const service = standIn()
  const io = testIo({ signal: stop.signal })
  const stopping: typeof service = {
    ...service,
    onboardBatch(request) {
      stop.abort()
      return service.onboardBatch(request)
    },
  }
  t.equal(await createTenants(stopping, await parse('--count', '100', '--batch', '10'), io), 1)
  t.ok(service.calls.length >= 1 && service.calls.length <= 2)
  t.match(io.err(), /the same call goes on from here/)
})

t.test('an error ends it, with what was made until then', async (t) => {
  const io = testIo()
  const service = {
    onboardBatch: () =>
      Promise.reject(new LessorError('NAMESPACE_NOT_FOUND', 'There is no namespace "none".')),
  }
  await rejectsLike(t, createTenants(service, await parse('acme'), io), { code: 'NAMESPACE_NOT_FOUND' })
  t.match(io.out(), /^0 created/)
})

t.test('the same call a second time makes no tenant twice', async (t) => {
  const { url } = await testDatabase(t)
  const environment = {
    DATABASE_URL: url,
    OPERATOR_KEY: 'operator-key-of-this-test-0123456789',
    VAULT_KEYS: generateVaultKeys(),
  }
  const args = ['create', '--count', '2500', '--prefix', 'acme-']
  const first = testIo({ environment })
  t.equal(await tenantsCommand.run(args, first), 0)
  t.match(first.out(), /^2500 created, 0 already there/)
  const second = testIo({ environment })
  t.equal(await tenantsCommand.run([...args, '--batch', '300'], second), 0)
  t.match(second.out(), /^0 created, 2500 already there/)
})
