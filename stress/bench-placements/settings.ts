/** CONNECTIONS is how many a tenant may use at once, in every placement. */
export const CONNECTIONS = 4

/** BUDGET is how many connections all tenants have together, where many are called at once. */
export const BUDGET = 16

const COMMON = {
  POOL_MAX_CONNECTIONS: String(CONNECTIONS),
  // No pool is to be evicted, and no connection closed, other than on purpose.
  POOL_IDLE_SECONDS: '3600',
  POOL_CONNECTION_IDLE_SECONDS: '3600',
}

/** ONE_TENANT is the service's configuration where one tenant is under load. */
export const ONE_TENANT = {
  ...COMMON,
  ROW_MAX_CONNECTIONS: String(CONNECTIONS),
  SERVER_MAX_CONNECTIONS: '150',
  POOL_MAX_ENTRIES: '1000',
}

/** MANY_TENANTS is the one where many are, and share the budget. */
export const MANY_TENANTS = {
  ...COMMON,
  ROW_MAX_CONNECTIONS: String(BUDGET),
  SERVER_MAX_CONNECTIONS: String(BUDGET),
}
