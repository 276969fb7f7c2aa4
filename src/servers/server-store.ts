import { type Db, sql } from '../pool/statement.ts'
import type { DataServer } from './data-server.ts'

const COLUMNS = sql`
  name, host, port, database, tls, created_at as "createdAt", updated_at as "updatedAt"`

/** saveServer makes or updates a data server's row; a row that says the same stays untouched. */
export async function saveServer(db: Db, server: Omit<DataServer, 'createdAt' | 'updatedAt'>): Promise<void> {
  const { name, host, port, database, tls } = server
  await db.query(sql`
    insert into lessor.servers as s (name, host, port, database, tls)
    values (${name}, ${host}, ${port}, ${database}, ${tls})
    on conflict (name) do update
    set host = excluded.host, port = excluded.port, database = excluded.database, tls = excluded.tls,
        updated_at = now()
    where (s.host, s.port, s.database, s.tls)
      is distinct from (excluded.host, excluded.port, excluded.database, excluded.tls)`)
}

/** listServers resolves with all data servers by name. */
export async function listServers(db: Db): Promise<readonly DataServer[]> {
  return db.query<DataServer>(sql`select ${COLUMNS} from lessor.servers order by name`)
}
