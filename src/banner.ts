import type { AddressInfo } from 'node:net'
import type { Secret } from './secret.ts'

export interface BannerOptions {
  readonly version: string
  readonly url: string
  readonly operatorKey: Secret
  /** Where the operator key lies; undefined when the configuration has it. */
  readonly operatorKeyFile: string | undefined
  /** Whether the key itself is printed: only once, at the start that made it. */
  readonly showsKey: boolean
}

/** banner is what a developer reads after `npm start`: where the service is and a first call that works. */
export function banner({ version, url, operatorKey, operatorKeyFile, showsKey }: BannerOptions): string {
  const place = operatorKeyFile === undefined ? 'in OPERATOR_KEY' : `in ${operatorKeyFile}`
  const inShell = operatorKeyFile === undefined ? '$OPERATOR_KEY' : `$(cat '${operatorKeyFile}')`
  const key = showsKey ? operatorKey.reveal() : inShell
  return `
Lessor ${version}

  API docs      ${url}/docs
  Operator key  ${showsKey ? `${operatorKey.reveal()} (kept ${place})` : place}

Onboard a tenant:

  curl -X POST ${url}/v1/tenants -H "Authorization: Bearer ${key}" -H 'Content-Type: application/json' -d '{"name":"acme"}'

`
}

/** serviceUrl is the URL at which this machine reaches a listening server. */
export function serviceUrl(scheme: 'http' | 'https', { address, family, port }: AddressInfo): string {
  if (address === '0.0.0.0' || address === '::') return `${scheme}://localhost:${port}`
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
