import t from 'tap'
import { Accounts, isShort, newAccount } from '../../src/pool/accounts.ts'

t.test('an account is dropped once nothing is used and nothing wanted', async (t) => {
  const accounts = new Accounts({ keep: false })
  const account = accounts.of('a')
  t.equal(accounts.of('a'), account)
  account.used = 1
  accounts.tidy('a')
  t.equal(accounts.find('a'), account)
  account.used = 0
  account.claims = 1
  accounts.tidy('a')
  t.equal(accounts.find('a'), account)
  account.claims = 0
  accounts.tidy('b')
  t.strictSame([...accounts.names], ['a'])
  accounts.tidy('a')
  t.equal(accounts.find('a'), undefined)
  t.equal(accounts.size, 0)
})

t.test('accounts that are kept stay when they are empty', async (t) => {
  const accounts = new Accounts({ keep: true })
  const account = accounts.of('a')
  accounts.tidy('a')
  t.equal(accounts.find('a'), account)
  t.strictSame(account, newAccount())
})

t.test('there is a shortage when more pools wait than connections are on their way out', async (t) => {
  t.equal(isShort({ ...newAccount(), claims: 1 }), true)
  t.equal(isShort({ ...newAccount(), claims: 1, closing: 1 }), false)
  t.equal(isShort({ ...newAccount(), claims: 2, closing: 1 }), true)
  t.equal(isShort(newAccount()), false)
})
