/** TENANTS is how many there are. */
export const TENANTS = 8

/** FuzzTenant is a tenant as the questions and their judge know it. */
export interface FuzzTenant {
  readonly id: string
  /** Its own row in the table `markers`; with letters of more than one byte. */
  readonly marker: string
  /** Names of the logins that it may be answered by. */
  readonly logins: readonly string[]
}
