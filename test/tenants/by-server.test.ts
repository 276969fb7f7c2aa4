import t from 'tap'
import { byServer, type Outcome } from '../../src/tenants/by-server.ts'

const ITEMS = [
  { server: 'away', name: 'a1' },
  { server: 'away', name: 'a2' },
  { server: 'up', name: 'u1' },
  { server: 'up', name: 'u2' },
  { server: 'up', name: 'u3' },
]
type Item = (typeof ITEMS)[number]

async function namesOf(outcome: (item: Item) => Outcome): Promise<{ names: string[]; pings: string[] }> {
  const names: string[] = []
  const pings: string[] = []
  const servers = {
    async ping(server: string) {
      pings.push(server)
      if (server === 'away') throw new Error('it is away')
    },
  }
  await byServer(ITEMS, servers, async (item) => {
    names.push(item.name)
    return outcome(item)
  })
  return { names: names.toSorted(), pings: pings.toSorted() }
}

t.test('what is left of a data server that does not answer waits for a later run', async (t) => {
  const { names, pings } = await namesOf(({ server }) => (server === 'away' ? 'unreachable' : 'done'))
  t.strictSame(names, ['a1', 'u1', 'u2', 'u3'])
  t.strictSame(pings, ['away'])
})

t.test('an item that fails, or cannot be reached alone, keeps none after it', async (t) => {
  const { names, pings } = await namesOf(({ name }) =>
    name === 'u1' ? 'unreachable' : name === 'a1' ? 'failed' : 'done',
  )
  t.strictSame(names, ['a1', 'a2', 'u1', 'u2', 'u3'])
  t.strictSame(pings, ['up'])
})

t.test('a data server whose work hangs holds up no other', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const names: string[] = []
  const hanging = Promise.withResolvers<Outcome>()
  const done = byServer(ITEMS, { ping: async () => {} }, async ({ name, server }) => {
    names.push(name)
    if (name === 'u3') resolve()
    return server === 'away' ? hanging.promise : 'done'
  })
  await promise
  t.strictSame(names.toSorted(), ['a1', 'u1', 'u2', 'u3'])
  hanging.resolve('done')
  await done
})
