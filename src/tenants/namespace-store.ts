import { type Db, sql } from '../pool/statement.ts'
import type { Name } from './name.ts'
import type { Namespace } from './namespace.ts'

const COLUMNS = sql`id, name, created_at as "createdAt"`

/** insertNamespace resolves with undefined when the name is taken. */
export async function insertNamespace(db: Db, name: Name): Promise<Namespace | undefined> {
  const [row] = await db.query<Namespace>(sql`
    insert into lessor.namespaces (name, name_key) values (${name.text}, ${name.key})
    on conflict (name_key) do nothing
    returning ${COLUMNS}`)
  return row
}

export async function findNamespace(db: Db, key: string): Promise<Namespace | undefined> {
  const [row] = await db.query<Namespace>(
    sql`select ${COLUMNS} from lessor.namespaces where name_key = ${key}`,
  )
  return row
}

/** listNamespaces resolves with namespaces in the order of their keys, from after one on. */
export async function listNamespaces(
  db: Db,
  page: { readonly limit: number; readonly after: string },
): Promise<readonly (Namespace & { readonly key: string })[]> {
  return db.query(sql`
    select ${COLUMNS}, name_key as key
    from lessor.namespaces
    where name_key collate "C" > ${page.after}
    order by name_key collate "C"
    limit ${page.limit}`)
}
