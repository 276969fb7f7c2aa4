import { setImmediate as turn } from 'node:timers/promises'
import { systemClock } from '../../src/clock.ts'
import type { Connect, ConnectionTarget, PoolKey } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { LIMITS, UNBOUNDED } from './limits.ts'
import { StandIn } from './stand-in.ts'
import { CALLER, keyOf, numberOf, targetOf } from './tenants.ts'

const OPENED_AT_ONCE = 16
const STATEMENT = sql`select 1 as one`

/** RealTenants is which tenants have a login at a real server. */
export interface RealTenants {
  readonly login: ConnectionTarget
  isReal(n: number): boolean
}

/**
 * House is a registry full of tenants: some with the real driver at a real server, all others with a
 * stand-in for it, whose connections the server has closed as soon as all are resident.
 */
export class House {
  readonly registry: PoolRegistry
  readonly #standIn = new StandIn()

  constructor(maxEntries: number, real?: RealTenants) {
    const isReal = (target: ConnectionTarget) => target.server === real?.login.server
    const connect: Connect = (target, signal) =>
      isReal(target) ? openConnection(target, signal) : this.#standIn.connect(target, signal)
    this.registry = new PoolRegistry({
      limits: { ...LIMITS, ...UNBOUNDED, maxEntries },
      clock: systemClock,
      connect,
      locate: async (key) => (real?.isReal(numberOf(key)) ? loginOf(real.login, key) : targetOf(key)),
    })
  }

  /** open makes tenants from..to-1 resident, each with one connection that has run a statement. */
  async open(from: number, to: number): Promise<void> {
    let next = from
    const open = async () => {
      for (let n = next++; n < to; n = next++) {
        await this.registry.use(keyOf(n), CALLER, (db) => db.query(STATEMENT))
      }
    }
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, open))
  }

  /** disconnect leaves those with the stand-in resident, without a connection. */
  async disconnect(): Promise<void> {
    this.#standIn.loseAll()
    // The registry hears of it one by one.
    await turn()
  }
}

/** All log in as one role; what the service would hold for each tenant is held for each. */
function loginOf(login: ConnectionTarget, key: PoolKey): ConnectionTarget {
  return { ...targetOf(key), ...login }
}
