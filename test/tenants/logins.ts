import type { Db } from '../../src/pool/statement.ts'
import { type Statement, sql } from '../../src/pool/statement.ts'
import { findLogin } from '../../src/tenants/credential-store.ts'
import { openLogin } from '../../src/tenants/login.ts'
import type { House } from './house.ts'

/** What leaks: all that it takes to log in as the tenant. */
export async function leak({ db, vault, servers, placements }: House, id: string) {
  const sealed = await findLogin(db, id)
  if (sealed === undefined) throw new Error('the tenant should have a row')
  return openLogin({ vault, servers, placements }, sealed)
}

/** Whether a login may log in; undefined when there is none. */
export async function canLogIn(admin: Pick<Db, 'query'>, user: string): Promise<boolean | undefined> {
  const [row] = await admin.query<{ can: boolean }>(
    sql`select rolcanlogin as can from pg_roles where rolname = ${user}`,
  )
  return row?.can
}

/** Lines that say that a tenant's logins may not be as they are to be. */
export async function lines({ db }: Pick<House, 'db'>, id: string): Promise<number> {
  return (await db.query(sql`select from lessor.login_settlements where tenant_id = ${id}::uuid`)).length
}

/** A transaction that has run a statement, and ends when it is released. */
export async function hold({ db }: Pick<House, 'db'>, statement: Statement) {
  const [held, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const transaction = db.transaction(async (tx) => {
    await tx.query(statement)
    held.resolve()
    await over.promise
  })
  await Promise.race([held.promise, transaction])
  return {
    release: () => {
      over.resolve()
      return transaction
    },
  }
}

/** Lets what is left come up at the next recovery. */
export async function hurry({ db }: Pick<House, 'db'>): Promise<void> {
  await db.query(sql`update lessor.login_settlements set retry_at = now() - interval '1 second'`)
}
