import type { Test } from 'tap'
import { like } from '../support/like.ts'
import { addUsers, list, type NewTenant, problem, userIn } from './answers.ts'

/** usersListSuite is the part of usersSuite about lists: pages, order, search, filters. */
export function usersListSuite(t: Test, newTenant: NewTenant): void {
  t.test('a list is paged, newest first, and says how much there is', async (t) => {
    const call = await newTenant(t)
    const users = await addUsers(t, call, 12)
    const newest = users.toReversed()
    like(t, await list(t, call), {
      records: newest.slice(0, 10),
      page: 1,
      page_size: 10,
      total: 12,
      total_pages: 2,
    })
    like(t, await list(t, call, '?page=2'), { records: newest.slice(10), page: 2, total: 12, total_pages: 2 })
    like(t, await list(t, call, '?page=3&page_size=5'), {
      records: newest.slice(10),
      page_size: 5,
      total_pages: 3,
    })
    like(t, await list(t, call, '?page_size=100'), { records: newest, total: 12, total_pages: 1 })
    like(t, await list(t, call, '?page_size=12'), { records: newest, total_pages: 1 })
    for (const page of ['3', '999', '2147483647']) {
      const past = await list(t, call, `?page=${page}`)
      t.strictSame(past, { records: [], page: Number(page), page_size: 10, total: 12, total_pages: 2 })
    }
    const empty = await newTenant(t)
    t.strictSame(await list(t, empty), { records: [], page: 1, page_size: 10, total: 0, total_pages: 0 })
    for (const [query, path] of [
      ['page=0', 'page'],
      ['page=-1', 'page'],
      ['page=1.5', 'page'],
      ['page=x', 'page'],
      ['page=', 'page'],
      ['page=1&page=2', 'page'],
      ['page=2147483648', 'page'],
      ['page_size=0', 'page_size'],
      ['page_size=101', 'page_size'],
    ] as const) {
      await problem(t, call('GET', `?${query}`), 400, 'INVALID_REQUEST', { in: 'query', path })
    }
  })

  t.test('a list is sorted by a column of a closed list, and by id where that is equal', async (t) => {
    const call = await newTenant(t)
    const users = await addUsers(t, call, 7)
    const twin = userIn(t, await call('POST', '', { first_name: 'Ada', last_name: 'Lovelace' }))
    await call('PATCH', `/${users[3]?.id}`, { confirmed: true })
    users.push(twin)
    for (const column of ['created_at', 'updated_at', 'first_name', 'last_name'] as const) {
      for (const [direction, sign] of [
        ['ascending', 1],
        ['descending', -1],
      ] as const) {
        const query = `sort_column=${column}&sort_direction=${direction}`
        const { records } = await list(t, call, `?${query}`)
        t.equal(records.length, 8)
        for (const [i, record] of records.entries()) {
          const before = records[i - 1]
          if (before === undefined) continue
          const order = compare(before[column], record[column]) || compare(before.id, record.id)
          t.equal(order, -sign, `${query}: ${before[column]} stands before ${record[column]}`)
        }
        const paged = [1, 2, 3, 4].map((page) => list(t, call, `?${query}&page_size=2&page=${page}`))
        const ids = (await Promise.all(paged)).flatMap((page) => page.records.map((user) => user.id))
        t.strictSame(
          ids,
          records.map((user) => user.id),
          'pages join without gap or overlap',
        )
      }
    }
    t.equal((await list(t, call, '?sort_column=updated_at')).records[0]?.id, users[3]?.id)
    for (const [query, path] of [
      ['sort_column=id', 'sort_column'],
      ['sort_column=tenant_id', 'sort_column'],
      ['sort_column=first_name,id', 'sort_column'],
      ['sort_direction=asc', 'sort_direction'],
      ['sort_direction=descending;select', 'sort_direction'],
    ] as const) {
      await problem(t, call('GET', `?${query}`), 400, 'INVALID_REQUEST', { in: 'query', path })
    }
  })

  t.test(
    'a search finds parts of the named columns in any case, and takes wildcards as they are',
    async (t) => {
      const call = await newTenant(t)
      await addUsers(t, call, 7)
      for (const [first_name, last_name] of [
        ['100%', 'sure'],
        ['snake_case', 'back\\slash'],
        ['ÉMILE', 'Zola'],
      ]) {
        await call('POST', '', { first_name, last_name })
      }
      for (const [query, names] of [
        ['search=LOVE', ['Ada']],
        ['search=al', ['Alan', 'Donald']],
        ['search=ar', ['Barbara', 'Margaret']],
        ['search=HAM', ['Margaret']],
        ['search=HAM&search_columns=first_name', []],
        ['search=HAM&search_columns=last_name', ['Margaret']],
        ['search=ar&search_columns=first_name,last_name', ['Barbara', 'Margaret']],
        ['search=ar&search_columns=first_name&search_columns=last_name', ['Barbara', 'Margaret']],
        ['search=ar&search_columns=last_name', []],
        ['search=émile', ['ÉMILE']],
        ['search=%25', ['100%']],
        ['search=_', ['snake_case']],
        ['search=%5C', ['snake_case']],
        ['search=a%25e', []],
        ['search=A_a', []],
        ["search='%20or%201=1%20--", []],
      ] as const) {
        const page = await list(t, call, `?${query}&sort_column=first_name&sort_direction=ascending`)
        t.strictSame(
          page.records.map((user) => user.first_name),
          names,
          query,
        )
        t.equal(page.total, names.length)
      }
      t.equal((await list(t, call, '?search=')).total, 10)
      t.equal((await list(t, call, '?search_columns=last_name')).total, 10)
      for (const [query, path] of [
        ['search=%00', 'search'],
        [`search=${'x'.repeat(201)}`, 'search'],
        ['search=a&search=b', 'search'],
        ['search=a&search_columns=id', 'search_columns/0'],
        ['search=a&search_columns=first_name,tenant_id', 'search_columns/0'],
        ['search=a&search_columns=first_name&search_columns=x', 'search_columns/1'],
        ['search=a&search_columns=', 'search_columns/0'],
      ] as const) {
        await problem(t, call('GET', `?${query}`), 400, 'INVALID_REQUEST', { in: 'query', path })
      }
    },
  )

  t.test('a list is filtered by confirmation and by time, from a time on and until before one', async (t) => {
    const call = await newTenant(t)
    const users = await addUsers(t, call, 3)
    const [first, second, third] = users
    if (first === undefined || second === undefined || third === undefined) throw new Error('bug')
    await call('PATCH', `/${second.id}`, { confirmed: true })
    const ids = async (query: string) => (await list(t, call, `?${query}`)).records.map((user) => user.id)
    t.strictSame(await ids('confirmed=true'), [second.id])
    t.strictSame(await ids('confirmed=false'), [third.id, first.id])
    t.strictSame(await ids(`date_after=${second.created_at}`), [third.id, second.id])
    t.strictSame(await ids(`date_before=${second.created_at}`), [first.id])
    t.strictSame(await ids(`date_after=${second.created_at}&date_before=${third.created_at}`), [second.id])
    const shifted = new Date(Date.parse(second.created_at) + 7_200_000).toISOString().replace('Z', '%2B02:00')
    t.strictSame(await ids(`date_after=${shifted}`), [third.id, second.id], 'any offset')
    t.strictSame(await ids('date_after=9999-12-31T23:59:59Z'), [])
    t.strictSame(await ids('date_before=0001-01-01T00:00:00Z'), [])
    t.strictSame(await ids(`search=a&confirmed=true&date_after=${first.created_at}&page=1`), [second.id])
    for (const [query, path] of [
      ['confirmed=yes', 'confirmed'],
      ['confirmed=', 'confirmed'],
      ['date_after=yesterday', 'date_after'],
      ['date_after=2026-01-01', 'date_after'],
      ['date_after=2026-01-01T00:00:00', 'date_after'],
      ['date_after=2026-02-30T00:00:00Z', 'date_after'],
      ['date_after=2016-12-31T23:59:60Z', 'date_after'],
      ['date_before=0000-01-01T00:00:00Z', 'date_before'],
      ['date_before=9999-12-31T23:59:59-23:59', 'date_before'],
      ['date_before=2026-01-01T00:00:00+02:00', 'date_before'],
    ] as const) {
      await problem(t, call('GET', `?${query}`), 400, 'INVALID_REQUEST', { in: 'query', path })
    }
  })
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
