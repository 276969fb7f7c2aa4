import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Db, Statement } from '../../src/pool/statement.ts'
import type { UserListRequest } from '../../src/users/user.ts'
import { deleteUser, findUser, insertUser, listUsers, updateUser } from '../../src/users/user-store.ts'
import { type ConnectionDb, openAdmin, openSession, rolePlacement } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'

// Every statement names the tenant, and row level security stands beneath it. Here row level security is off, as
// for a superuser, so that the predicate alone decides.

const LIST: UserListRequest = {
  search: null,
  searchColumns: ['first_name', 'last_name'],
  confirmed: null,
  createdFrom: null,
  createdBefore: null,
  sortColumn: 'created_at',
  sortDirection: 'ascending',
  page: 1,
  pageSize: 100,
}
const CHANGE = { firstName: 'changed', lastName: null, confirmed: null }

/** STATEMENTS is each statement of the store, and whether its result tells of the row of another tenant. */
const STATEMENTS: Readonly<
  Record<string, (db: Db, tenantId: string, theirs: string) => Promise<{ readonly leaks: boolean }>>
> = {
  find: async (db, tenantId, theirs) => ({ leaks: (await findUser(db, tenantId, theirs)) !== undefined }),
  update: async (db, tenantId, theirs) => ({
    leaks: (await updateUser(db, tenantId, theirs, CHANGE)) !== undefined,
  }),
  delete: async (db, tenantId, theirs) => ({ leaks: await deleteUser(db, tenantId, theirs) }),
  'first page': async (db, tenantId) => leaksOf(await listUsers(db, tenantId, LIST)),
  'second page': async (db, tenantId) =>
    leaksOf(await listUsers(db, tenantId, { ...LIST, page: 2, pageSize: 1 })),
  search: async (db, tenantId) => leaksOf(await listUsers(db, tenantId, { ...LIST, search: 'theirs' }), 0),
}

function leaksOf({ total, records }: { readonly total: number; readonly records: string }, own = 1) {
  return { leaks: total > own || records.includes('theirs') }
}

/** Unnamed runs statements without their predicates: `tenant_id = $1` becomes true, one of them at a time or all. */
class Unnamed implements Db {
  readonly #db: Db
  readonly #which: number | undefined
  /** Predicates that the statements had. */
  found = 0

  constructor(db: Db, which?: number) {
    this.#db = db
    this.#which = which
  }

  query<Row extends object>(statement: Statement): Promise<readonly Row[]> {
    return this.#db.query<Row>(this.#without(statement))
  }

  transaction(): never {
    throw new Error('bug: a store runs single statements')
  }

  #without({ strings, values }: Statement): Statement {
    const parts = strings.map((text) => {
      if (!text.endsWith('tenant_id = ')) return text
      const index = this.found++
      return this.#which === undefined || this.#which === index
        ? `${text.slice(0, -'tenant_id = '.length)}null is distinct from `
        : text
    })
    const inner = values.map((value) => (value instanceof Statement ? this.#without(value) : value))
    return new Statement(Object.assign(parts, { raw: parts }), inner)
  }
}

async function twoTenants(
  t: Test,
): Promise<{ db: ConnectionDb; own: string; other: string; theirs: string }> {
  const { url } = await testDatabase(t)
  await rolePlacement().prepare(openAdmin(t, url))
  const db = await openSession(t, url, { search_path: 'app' })
  const [own, other] = [randomUUID(), randomUUID()]
  await insertUser(db, own, { firstName: 'mine', lastName: 'a', confirmed: false })
  const { id } = await insertUser(db, other, { firstName: 'theirs', lastName: 'b', confirmed: false })
  return { db, own, other, theirs: id }
}

/** rolledBack runs `work` and takes back what it did. */
async function rolledBack<T>(db: ConnectionDb, work: () => Promise<T>): Promise<T> {
  return db.rolledBack(work)
}

t.test('each statement reaches own rows alone, even where row level security does not bind', async (t) => {
  const { db, own, theirs } = await twoTenants(t)
  for (const [name, run] of Object.entries(STATEMENTS)) {
    t.strictSame(await rolledBack(db, () => run(db, own, theirs)), { leaks: false }, name)
  }
})

t.test('each predicate counts: without any one of them a statement reaches rows of others', async (t) => {
  const { db, own, theirs } = await twoTenants(t)
  let predicates = 0
  for (const [name, run] of Object.entries(STATEMENTS)) {
    const all = new Unnamed(db)
    await rolledBack(db, () => run(all, own, theirs))
    t.ok(all.found > 0, `${name} has predicates`)
    predicates += all.found
    for (let which = 0; which < all.found; which++) {
      const { leaks } = await rolledBack(db, () => run(new Unnamed(db, which), own, theirs))
      t.equal(leaks, true, `${name} without its predicate ${which + 1} of ${all.found}`)
    }
  }
  t.comment(`${predicates} of ${predicates} predicates noticed`)
})
