/** Shortage is the limit that a claim has run into: whose connections have to become fewer. */
export type Shortage = { readonly tenantId: string } | { readonly server: string } | 'process'

/** Need is what is short, and whether one of those who wait has no connection at all. */
export interface Need {
  readonly shortage: Shortage
  readonly hasNone: boolean
}
