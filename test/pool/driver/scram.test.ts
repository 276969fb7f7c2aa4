import t from 'tap'
import { ScramClient } from '../../../src/pool/driver/scram.ts'
import { Secret } from '../../../src/secret.ts'
import { rejectsLike, throwsLike } from '../../support/like.ts'

t.test('the exchange of RFC 7677, section 3, but for the name, which PostgreSQL ignores', async (t) => {
  // The RFC's example names a user, which is part of what is signed; so only the server's salt and iterations are its.
  const client = new ScramClient(new Secret('pencil'), 'rOprNGfwEbeRWgbNEkqO')
  t.equal(client.first(), 'n,,n=*,r=rOprNGfwEbeRWgbNEkqO')
  const first = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'
  const final = await client.final(first)
  t.match(final, /^c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj\)hNlF\$k0,p=[A-Za-z0-9+/]{43}=$/)
})

t.test('a server may ask for one iteration, for a hundred thousand, and for no more', async (t) => {
  const answer = (iterations: string) => {
    const client = new ScramClient(new Secret('pencil'), 'nonce')
    return client.final(`r=nonce+more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=${iterations}`)
  }
  for (const iterations of ['1', '100000']) t.match(await answer(iterations), /^c=biws,r=nonce\+more,p=/)
  for (const iterations of ['0', '100001', '-1', '1e3', '01', ''])
    await rejectsLike(t, answer(iterations), { code: 'SCRAM_REFUSED' })
})

t.test('nothing verifies before the exchange has been through', async (t) => {
  const client = new ScramClient(new Secret('pencil'))
  throwsLike(t, () => client.verify(`v=${Buffer.alloc(32).toString('base64')}`), { code: 'SCRAM_REFUSED' })
})

t.test('a client has a nonce of its own each time', async (t) => {
  const nonces = Array.from({ length: 100 }, () => new ScramClient(new Secret('pencil')).first())
  t.equal(new Set(nonces).size, 100)
})
