import { LessorError } from '../errors.ts'
import type { PlacementName } from '../tenants/tenant.ts'
import type { Labels } from './data-server.ts'

/** ServerWish is where a new tenant is to live. */
export interface ServerWish {
  readonly placement: PlacementName
  /** The one data server that will do. */
  readonly server?: string
  /** Labels that it must have. */
  readonly labels?: Labels
}

/** Candidate is a data server that is looked at. */
export interface Candidate {
  readonly name: string
  readonly labels: Labels
  /** Its connections over all nodes. */
  readonly budget: number
  /** Tenants that live there. */
  readonly tenants: number
  /** Why it does not carry the placement; undefined when it does. */
  readonly lack: string | undefined
}

/**
 * rankServers puts the data servers that will do in order: the fewest tenants for its connections first,
 * then by name.
 * @throws LessorError SERVER_NOT_FOUND; PLACEMENT_UNAVAILABLE that names the servers and what each lacks
 */
export function rankServers(candidates: readonly Candidate[], wish: ServerWish): readonly string[] {
  const { placement, server, labels = {} } = wish
  const looked = server === undefined ? candidates : candidates.filter(({ name }) => name === server)
  if (server !== undefined && looked.length === 0) throw serverNotFound(server)
  const judged = looked.map((each) => ({ ...each, reason: each.lack ?? missingLabel(each.labels, labels) }))
  const fit = judged.filter(({ reason }) => reason === undefined)
  if (fit.length > 0) {
    const load = (each: Candidate) => each.tenants / each.budget
    return fit.toSorted((a, b) => load(a) - load(b) || compare(a.name, b.name)).map(({ name }) => name)
  }
  const reasons = judged.map(({ name, reason }) => `"${name}" ${reason}`)
  throw new LessorError(
    'PLACEMENT_UNAVAILABLE',
    `No data server will do for the placement "${placement}": ${reasons.join('; ')}.`,
  )
}

/** serverNotFound says that a name stands for no data server. */
export function serverNotFound(name: string): LessorError {
  return new LessorError('SERVER_NOT_FOUND', `There is no data server "${name}".`)
}

function missingLabel(has: Labels, wanted: Labels): string | undefined {
  const missing = Object.entries(wanted).find(([key, value]) => has[key] !== value)
  return missing && `is not labelled ${missing[0]}=${missing[1]}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
