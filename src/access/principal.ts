/**
 * Principal is who calls. `operator` runs the control plane. `api_key` belongs to a namespace and,
 * where `tenantId` is set, to that tenant alone. `network` is a caller on a trusted network, who
 * names the tenant by `x-tenant-id` alone.
 */
export type Principal =
  | { readonly kind: 'operator' }
  | {
      readonly kind: 'api_key'
      readonly keyId: string
      readonly namespaceId: string
      readonly tenantId: string | null
    }
  | { readonly kind: 'network'; readonly address: string }
