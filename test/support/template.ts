import { randomBytes } from 'node:crypto'
import postgres from 'postgres'

/** Build fills a fresh database that becomes a template; it must leave no connection open. */
export type Build = (url: string) => Promise<void>

/** databaseUrl is the URL of another database on the same server. */
export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.href
}

/** withAdmin runs `work` on one superuser connection and closes it. */
export async function withAdmin<T>(serverUrl: string, work: (admin: postgres.Sql) => Promise<T>): Promise<T> {
  const admin = postgres(serverUrl, { max: 1, onnotice: () => {} })
  try {
    return await work(admin)
  } finally {
    await admin.end({ timeout: 1 })
  }
}

/**
 * ensureTemplate makes the template database `name` once per server, however many test files ask
 * for it at once. It is built under another name and renamed when it is complete, so that a build
 * that was cut leaves no half of it; nobody can connect to it then, so that cloning it never meets
 * "source database is being accessed by other users".
 */
export async function ensureTemplate(serverUrl: string, name: string, build: Build): Promise<void> {
  await withAdmin(serverUrl, async (admin) => {
    await admin`select pg_advisory_lock(hashtext(${name}))`
    const existing = await admin`select from pg_database where datname = ${name}`
    if (existing.length > 0) return
    const draft = `${name}_${randomBytes(4).toString('hex')}`
    await admin`create database ${admin(draft)} template template0`
    await build(databaseUrl(serverUrl, draft))
    await admin`alter database ${admin(draft)} with allow_connections false`
    await admin`alter database ${admin(draft)} rename to ${admin(name)}`
  })
}
