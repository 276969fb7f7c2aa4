import type { LessorError } from '../errors.ts'
import type { ConnectionTarget } from './contract.ts'
import { isLoginRefused } from './driver-errors.ts'

/**
 * Credential is where and as whom a pool logs in. When logins are refused it is read once more, since
 * it may have been rotated; after a login that worked it may be read again.
 */
export class Credential {
  readonly #locate: () => Promise<ConnectionTarget>
  #target: ConnectionTarget
  #mayBeStale = true
  #isDoubted = false
  #isReading = false

  constructor(target: ConnectionTarget, locate: () => Promise<ConnectionTarget>) {
    this.#target = target
    this.#locate = locate
  }

  get target(): ConnectionTarget {
    return this.#target
  }

  /** True from a refused login on until it was read again: meanwhile no other login makes sense. */
  get isDoubted(): boolean {
    return this.#isDoubted || this.#isReading
  }

  /** isSuspect says whether an opening failed for a reason that reading it again may cure. */
  isSuspect(error: LessorError): boolean {
    return this.#mayBeStale && isLoginRefused(error)
  }

  /** doubt says that a login was refused, so that it has to be read again. */
  doubt(): void {
    this.#isDoubted = true
  }

  /** worked says that a login was let in. */
  worked(): void {
    this.#mayBeStale = true
    this.#isDoubted = false
  }

  /** readAgain reads it once more. @throws what locating the tenant throws */
  async readAgain(): Promise<void> {
    this.#isReading = true
    this.#isDoubted = false
    try {
      const target = await this.#locate()
      if (target.server !== this.#target.server) {
        throw new Error('bug: a tenant moved and kept its generation')
      }
      this.#target = target
      this.#mayBeStale = false
    } finally {
      this.#isReading = false
    }
  }
}
