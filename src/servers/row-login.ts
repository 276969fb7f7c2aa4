import { randomBytes, randomUUID } from 'node:crypto'
import type { AdminDb, RoleLimits } from '../placement/placement.ts'
import type { RuntimeRequest } from '../placement/row-placement.ts'
import { randomPassword, scramVerifier } from '../placement/scram.ts'
import { errorCode } from '../pool/driver-errors.ts'
import { type Db, sql } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import type { Vault } from '../vault/vault.ts'
import { openCredential, sealCredential } from './server-credentials.ts'
import { findCredential, offerCredential } from './server-store.ts'

/** RowLogin is the one login of all tenants of the placement `row` on a data server. */
export interface RowLogin {
  readonly user: string
  readonly password: Secret
}

/** RuntimePlacement is the placement that has such a login. */
export interface RuntimePlacement {
  provisionRuntime(admin: AdminDb, request: RuntimeRequest): Promise<void>
  /** check proves over a session of the login that the walls stand; throws when not. */
  check(db: Db, tenantId: string): Promise<void>
}

export interface RowLoginOptions {
  /** The control database. */
  readonly db: Db
  readonly vault: Pick<Vault, 'seal' | 'open' | 'keyId'>
  readonly placement: RuntimePlacement
  readonly limits: Omit<RoleLimits, 'connectionLimit'>
}

/** The budget of the data server is the bound, and it differs with the number of nodes. */
const UNLIMITED = -1

/**
 * ensureRowLogin resolves with a login that works and is walled in. The password is sealed and stored before the role is
 * made: of several starters the first one's counts for all, and whoever comes after a death in between makes
 * the role with the same password. A role that a restore or a person has taken away is made again.
 * @throws LessorError INTERNAL that names the walls that do not stand, VAULT_OPEN_FAILED, SERVER_UNAVAILABLE,
 *   CONTROL_UNAVAILABLE
 */
export async function ensureRowLogin(
  options: RowLoginOptions,
  server: string,
  admin: AdminDb,
): Promise<RowLogin> {
  const { db, vault, placement, limits } = options
  let sealed = await findCredential(db, server, 'row')
  const isNew = sealed === undefined
  if (sealed === undefined) {
    const login = `lessor_row_${randomBytes(6).toString('hex')}`
    await offerCredential(db, server, await sealCredential(vault, server, 'row', login, randomPassword()))
    sealed = await findCredential(db, server, 'row')
  }
  if (sealed === undefined) throw new Error('bug: a stored credential is not there')
  const login = { user: sealed.login, password: await openCredential(vault, server, sealed) }
  if (isNew || !(await works(admin, login))) {
    await placement.provisionRuntime(admin, {
      role: login.user,
      verifier: scramVerifier(login.password),
      limits: { ...limits, connectionLimit: UNLIMITED },
    })
  }
  // Any id will do for whom it is bound to: no row may show that is not its own.
  await admin.asLogin(login, (db) => placement.check(db, randomUUID()))
  return login
}

/** invalid_password, invalid_authorization_specification, insufficient_privilege (no CONNECT). */
const REFUSED = new Set(['28P01', '28000', '42501'])

async function works(admin: AdminDb, login: RowLogin): Promise<boolean> {
  try {
    return await admin.asLogin(login, async (db) => {
      const [row] = await db.query<{ belongs: boolean }>(sql`
        select coalesce(pg_has_role(to_regrole('lessor_row'), 'usage'), false) as belongs`)
      return row?.belongs === true
    })
  } catch (error) {
    const code = errorCode(error instanceof Error ? error.cause : undefined) ?? errorCode(error) ?? ''
    if (REFUSED.has(code)) return false
    throw error
  }
}
