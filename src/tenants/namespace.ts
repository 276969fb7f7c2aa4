/** DEFAULT_NAMESPACE is there from the first migration on. */
export const DEFAULT_NAMESPACE = 'default'

/** Namespace is an account: it owns tenants and principals. */
export interface Namespace {
  readonly id: string
  readonly name: string
  readonly createdAt: Date
}

/** CANARY_NAMESPACE is where the tenants are that a running service tries its walls with. */
export const CANARY_NAMESPACE = 'lessor-canary'
