import { isLessorError, LessorError } from '../errors.ts'
import type { RoleLimits } from '../placement/placement.ts'
import { randomPassword, scramVerifier } from '../placement/scram.ts'
import { dropVisitor, dropVisitors, makeVisitor, visitorName } from '../placement/visitor-login.ts'
import { type ServerWay, wayOf } from '../pool/contract.ts'
import type { Db } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import type { DataServers } from '../servers/data-servers.ts'
import { byServer, type Outcome } from './by-server.ts'
import { type Placements, requirePlacement } from './login.ts'
import type { Tenant } from './tenant.ts'
import { statusConflict } from './tenant-status.ts'
import { findTenant } from './tenant-store.ts'
import {
  hasVisit,
  insertVisit,
  listExpiredVisits,
  removeVisit,
  removeVisits,
  type VisitRecord,
} from './visit-store.ts'

/** Programs other than ours may refuse a verifier of fewer rounds (see SCRAM_ITERATIONS). */
const ITERATIONS = 4096

/** MAX_VISIT_MINUTES is the longest that a person's login may last. */
export const MAX_VISIT_MINUTES = 480

/** VisitObserver hears who was let in; must not throw. */
export interface VisitObserver {
  opened(visit: VisitRecord, writes: boolean): void
  closed(visit: Pick<VisitRecord, 'role' | 'tenantId'>): void
  /** A login whose time is over could not be dropped; it will be tried again. */
  failed(visit: VisitRecord, error: unknown): void
}

export interface VisitsOptions {
  readonly db: Db
  readonly servers: Pick<DataServers, 'address' | 'admin' | 'ping'>
  readonly placements: Placements
  readonly limits: () => RoleLimits
  readonly visitObserver?: VisitObserver
}

export interface VisitRequest {
  readonly tenantId: string
  /** Who asks, for the log. */
  readonly visitor: string
  readonly minutes: number
  readonly writes: boolean
}

/** Visit is a login that works, and where. */
export interface Visit extends ServerWay {
  readonly tenant: Tenant
  readonly role: string
  readonly password: Secret
  readonly database: string
  /** Settings of its sessions. */
  readonly parameters: Readonly<Record<string, string>>
  readonly validUntil: Date
}

/**
 * Visits lets people into one tenant for a while, each by a login of his own that sees what the tenant's
 * logins see. A login is written down before it is made, so that whoever made it may die: any process
 * drops it when its time is over.
 */
export class Visits {
  readonly #options: VisitsOptions

  constructor(options: VisitsOptions) {
    this.#options = options
  }

  /**
   * open makes a login.
   * @throws LessorError TENANT_NOT_FOUND, TENANT_STATUS_CONFLICT, SERVER_NOT_FOUND, PLACEMENT_UNAVAILABLE,
   *   SERVER_UNAVAILABLE
   */
  async open({ tenantId, visitor, minutes, writes }: VisitRequest): Promise<Visit> {
    const { db, limits, placements, servers, visitObserver } = this.#options
    const tenant = await findTenant(db, tenantId)
    if (tenant === undefined) throw new LessorError('TENANT_NOT_FOUND')
    const placement = requirePlacement(placements, tenant.placement)
    const admin = await servers.admin(tenant.server)
    const address = await servers.address(tenant.server)
    const role = visitorName(tenant.id)
    const record = await insertVisit(db, { role, tenantId: tenant.id, visitor, minutes })
    if (record === undefined) throw statusConflict(tenant.status, 'visited')
    const password = randomPassword()
    const verifier = scramVerifier(password, { iterations: ITERATIONS })
    const { validUntil } = record
    await makeVisitor(admin, placement, {
      role,
      tenantId: tenant.id,
      verifier,
      limits: limits(),
      validUntil,
      writes,
    })
    if (!(await hasVisit(db, role))) {
      // A deletion went by between the two, and found no login to drop.
      await dropVisitor(admin, role)
      throw statusConflict('deleting', 'visited')
    }
    visitObserver?.opened(record, writes)
    const login = placement.login(tenant.id, 'blue')
    return {
      tenant,
      role,
      password,
      ...wayOf(address),
      database: login.database ?? address.database,
      parameters: { ...login.parameters, 'rls.tenant_id': tenant.id },
      validUntil,
    }
  }

  /** close ends the visitor's sessions and drops the login. */
  async close({
    role,
    tenant,
  }: {
    readonly role: string
    readonly tenant: Pick<Tenant, 'id' | 'server'>
  }): Promise<void> {
    await this.#drop({ role, tenantId: tenant.id, server: tenant.server })
  }

  /** endAll does so for all who visit a tenant. */
  async endAll({ id, server }: Pick<Tenant, 'id' | 'server'>): Promise<void> {
    await dropVisitors(await this.#options.servers.admin(server), id)
    await removeVisits(this.#options.db, id)
  }

  /**
   * sweep does so for all whose time is over, as byServer does: one that cannot be dropped is told of, and keeps no other.
   * Several processes may do it at once.
   */
  async sweep(): Promise<void> {
    const { db, servers } = this.#options
    await byServer(await listExpiredVisits(db), servers, (visit) => this.#end(visit))
  }

  /** Never rejects. */
  async #end(visit: VisitRecord): Promise<Outcome> {
    try {
      await this.#drop(visit)
      return 'done'
    } catch (error) {
      this.#options.visitObserver?.failed(visit, error)
      return isLessorError(error, 'SERVER_UNAVAILABLE') ? 'unreachable' : 'failed'
    }
  }

  async #drop(visit: Pick<VisitRecord, 'role' | 'tenantId' | 'server'>): Promise<void> {
    await dropVisitor(await this.#options.servers.admin(visit.server), visit.role)
    await removeVisit(this.#options.db, visit.role)
    this.#options.visitObserver?.closed(visit)
  }
}
