/** DEFAULT_NAMESPACE is there from the first migration on. */
export const DEFAULT_NAMESPACE = 'default'

/** Namespace is an account: it owns tenants and principals. */
export interface Namespace {
  readonly id: string
  readonly name: string
  readonly createdAt: Date
}
