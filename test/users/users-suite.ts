import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { like } from '../support/like.ts'
import { addUsers, list, type NewTenant, problem, TIME, userIn } from './answers.ts'
import { usersListSuite } from './users-list-suite.ts'

/**
 * usersSuite is what the users API promises, whatever the placement: tried on tenants that
 * `newTenant` makes.
 */
export function usersSuite(t: Test, newTenant: NewTenant): void {
  t.test('a user is added, read, changed and deleted', async (t) => {
    const call = await newTenant(t)
    const neighbours = await addUsers(t, call, 3)
    const created = await call('POST', '', { first_name: 'Ada', last_name: 'Lovelace' })
    t.equal(created.status, 201)
    const user = userIn(t, created)
    like(t, user, { first_name: 'Ada', last_name: 'Lovelace', confirmed: false })
    t.equal(user.created_at, user.updated_at)
    t.match(created.headers.location, new RegExp(`/users/${user.id}$`))

    const read = await call('GET', `/${user.id}`)
    t.equal(read.status, 200)
    t.equal(read.headers['content-type'], 'application/json; charset=utf-8')
    t.strictSame(userIn(t, read), user)
    t.strictSame(userIn(t, await call('GET', `/${user.id.toUpperCase()}`)), user)

    const changed = userIn(t, await call('PATCH', `/${user.id}`, { last_name: 'King', confirmed: true }))
    like(t, changed, { ...user, last_name: 'King', confirmed: true, updated_at: TIME })
    t.ok(changed.updated_at >= user.updated_at)
    like(t, userIn(t, await call('PATCH', `/${user.id}`, { confirmed: false })), { confirmed: false })

    const deleted = await call('DELETE', `/${user.id}`)
    t.equal(deleted.status, 204)
    t.equal(deleted.text, '')
    for (const [method, body] of [['GET'], ['DELETE'], ['PATCH', { confirmed: true }]] as const) {
      await problem(t, call(method, `/${user.id}`, body), 404, 'USER_NOT_FOUND')
    }
    t.strictSame((await list(t, call)).records, neighbours.reverse(), 'the others are as they were')
  })

  t.test("another tenant's user is not found, whatever is asked of it", async (t) => {
    const [call, other] = [await newTenant(t), await newTenant(t)]
    const foreign = userIn(t, await other('POST', '', { first_name: 'Ada', last_name: 'Lovelace' }))
    for (const [method, body] of [['GET'], ['PATCH', { first_name: 'x' }], ['DELETE']] as const) {
      await problem(t, call(method, `/${foreign.id}`, body), 404, 'USER_NOT_FOUND')
    }
    like(t, await list(t, call), { records: [], total: 0 })
    t.strictSame(userIn(t, await other('GET', `/${foreign.id}`)), foreign)
  })

  t.test('text comes back as it was sent', async (t) => {
    const call = await newTenant(t)
    for (const name of [
      'O\'Brien "Bob" \\ %_',
      '李小龍',
      '👩‍👩‍👧',
      '{"a":1},',
      '</script>\u2028',
      'x'.repeat(200),
      '💥'.repeat(200),
    ]) {
      const user = userIn(t, await call('POST', '', { first_name: name, last_name: name }))
      t.equal(user.first_name, name)
      like(t, (await list(t, call, `?search=${encodeURIComponent(name)}`)).records, [{ id: user.id }])
    }
  })

  t.test('a body that does not fit is refused, naming the field', async (t) => {
    const call = await newTenant(t)
    const good = { first_name: 'Ada', last_name: 'Lovelace' }
    for (const [body, field] of [
      [{ first_name: 'Ada' }, '/last_name'],
      [{ ...good, first_name: '' }, '/first_name'],
      [{ ...good, first_name: 'x'.repeat(201) }, '/first_name'],
      [{ ...good, first_name: 7 }, '/first_name'],
      [{ ...good, first_name: null }, '/first_name'],
      [{ ...good, first_name: 'a\u0000b' }, '/first_name'],
      [{ ...good, last_name: 'a\nb' }, '/last_name'],
      [{ ...good, last_name: 'a\u009fb' }, '/last_name'],
      [{ ...good, last_name: 'a\ud800b' }, '/last_name'],
      [{ ...good, confirmed: 'true' }, '/confirmed'],
      [{ ...good, confirmed: 1 }, '/confirmed'],
      [{ ...good, admin: true }, '/admin'],
      [{ ...good, tenant_id: randomUUID() }, '/tenant_id'],
      [[good], ''],
      ['Ada', ''],
    ] as const) {
      await problem(t, call('POST', '', body), 400, 'INVALID_REQUEST', { in: 'body', path: field })
    }
    const user = userIn(t, await call('POST', '', good))
    for (const [body, field] of [
      [{}, ''],
      [{ first_name: null }, '/first_name'],
      [{ id: randomUUID() }, '/id'],
      [{ created_at: user.created_at }, '/created_at'],
      [{ last_name: 'tab\t' }, '/last_name'],
    ] as const) {
      await problem(t, call('PATCH', `/${user.id}`, body), 400, 'INVALID_REQUEST', {
        in: 'body',
        path: field,
      })
    }
    t.strictSame(userIn(t, await call('GET', `/${user.id}`)), user)
  })

  t.test('an id that is no UUID, and a parameter that is not known, are refused', async (t) => {
    const call = await newTenant(t)
    const id = randomUUID()
    for (const wrong of [
      '1',
      'null',
      `urn:uuid:${id}`,
      `{${id}}`,
      id.replaceAll('-', ''),
      `${id}0`,
      `${id}%00`,
    ]) {
      await problem(t, call('GET', `/${wrong}`), 400, 'INVALID_REQUEST', { in: 'params', path: 'id' })
    }
    const unknown = { in: 'query', path: 'force' }
    await problem(t, call('GET', '?force=1'), 400, 'INVALID_REQUEST', unknown)
    await problem(t, call('GET', `/${id}?force=1`), 400, 'INVALID_REQUEST', unknown)
    await problem(t, call('DELETE', `/${id}?force=1`), 400, 'INVALID_REQUEST', unknown)
    await problem(
      t,
      call('POST', '?force=1', { first_name: 'a', last_name: 'b' }),
      400,
      'INVALID_REQUEST',
      unknown,
    )
  })

  usersListSuite(t, newTenant)
}
