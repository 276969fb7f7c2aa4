import t from 'tap'
import { type Candidate, rankServers } from '../../src/servers/choose-server.ts'
import { throwsLike } from '../support/like.ts'

function candidate(name: string, rest: Partial<Candidate> = {}): Candidate {
  return { name, labels: {}, budget: 10, tenants: 0, lack: undefined, ...rest }
}

t.test('the fewest tenants for its connections come first, then the name', async (t) => {
  const servers = [
    candidate('b', { tenants: 10 }),
    candidate('large', { tenants: 15, budget: 20 }),
    candidate('c'),
    candidate('a', { tenants: 10 }),
  ]
  t.strictSame(rankServers(servers, { placement: 'role' }), ['c', 'large', 'a', 'b'])
})

t.test('a label must have the value that is asked for, and all of them must', async (t) => {
  const servers = [
    candidate('eu', { labels: { region: 'eu' }, tenants: 5 }),
    candidate('eu-fast', { labels: { region: 'eu', disk: 'fast' }, tenants: 9 }),
    candidate('us-fast', { labels: { region: 'us', disk: 'fast' } }),
  ]
  const labels = { region: 'eu', disk: 'fast' }
  t.strictSame(rankServers(servers, { placement: 'role', labels }), ['eu-fast'])
  t.strictSame(rankServers(servers, { placement: 'role', labels: { region: 'eu' } }), ['eu', 'eu-fast'])
  t.strictSame(rankServers(servers, { placement: 'role', labels: {} }), ['us-fast', 'eu', 'eu-fast'])
})

t.test('a server that is asked for is taken, however loaded, or it is said why not', async (t) => {
  const servers = [
    candidate('full', { tenants: 1_000 }),
    candidate('old', { lack: 'does not carry it: too old' }),
  ]
  t.strictSame(rankServers(servers, { placement: 'role', server: 'full' }), ['full'])
  throwsLike(t, () => rankServers(servers, { placement: 'role', server: 'old' }), {
    code: 'PLACEMENT_UNAVAILABLE',
    message: 'No data server will do for the placement "role": "old" does not carry it: too old.',
  })
  throwsLike(t, () => rankServers(servers, { placement: 'role', server: 'none' }), {
    code: 'SERVER_NOT_FOUND',
  })
  throwsLike(t, () => rankServers(servers, { placement: 'role', server: 'full', labels: { region: 'eu' } }), {
    code: 'PLACEMENT_UNAVAILABLE',
  })
})

t.test('when none will do, each server and its reason is named', async (t) => {
  const servers = [candidate('default'), candidate('old', { lack: 'does not carry it: too old' })]
  throwsLike(t, () => rankServers(servers, { placement: 'row', labels: { region: 'eu' } }), {
    code: 'PLACEMENT_UNAVAILABLE',
    message:
      'No data server will do for the placement "row": "default" is not labelled region=eu; "old" does not carry it: too old.',
  })
})
