import type { FleetEvent, FleetPreview, FleetReport, FleetTenant, StopReason } from '../fleet/fleet.ts'

/** eventLine is an event in words, for people; undefined for what the progress shows by itself. */
export function eventLine(event: FleetEvent): string | undefined {
  switch (event.kind) {
    case 'begin': {
      const { done, failed, pending, skipped } = event.counts
      const total = done + failed + pending + skipped
      return event.resumed
        ? `Going on where it stopped; tenants that are left: ${pending} of ${total}.`
        : `Tenants to be brought to version ${event.target}: ${total}; ${event.failuresAllowed} may fail.`
    }
    case 'server':
      return event.outcome.state === 'failed'
        ? `shared tables of ${event.server}: failed, ${event.outcome.error}`
        : event.outcome.ran.length > 0
          ? `shared tables of ${event.server}: ${event.outcome.ran.join(', ')}`
          : undefined
    case 'wave':
      return event.canary ? `canaries: ${event.size}` : `wave ${event.number}: ${event.size}`
    case 'retry':
      return `${event.name}: ${event.error}, again in ${(event.waitMs / 1000).toFixed(1)} s`
    case 'tenant':
      switch (event.outcome.state) {
        case 'failed':
          return `${nameOf(event.tenant)}: failed, ${tries(event.outcome.error, event.outcome.attempts)}`
        case 'skipped':
          return `${nameOf(event.tenant)}: skipped, it has been deleted`
        default:
          return undefined
      }
    case 'stopping':
      return `stopping: ${reasonWords(event.reason)}; ${event.underWay} under way will end`
  }
}

/** previewLine is what would run, for people. */
export function previewLine({ error, server, tenant, wouldRun }: FleetPreview): string {
  const whose = tenant === undefined ? `shared tables of ${server}` : `${nameOf(tenant)} on ${server}`
  if (error !== null) return `${whose}: cannot be told, ${error}`
  return `${whose}: ${wouldRun.length === 0 ? 'nothing to do' : `would run ${wouldRun.join(', ')}`}`
}

/** reportText is how a run ended, and what to do next. */
export function reportText(report: FleetReport): string {
  const { counts, failures, reason, target } = report
  const seconds = `${(report.ms / 1000).toFixed(1)} s`
  const skipped = counts.skipped === 0 ? '' : `, ${counts.skipped} deleted meanwhile`
  if (reason === null) {
    return `Every tenant is at version ${target}: ${counts.done} migrated${skipped}, in ${seconds}.\n`
  }
  const lines = [
    `Stopped after ${seconds}: ${reasonWords(reason)}.`,
    `${counts.done} migrated, ${counts.failed} failed, ${counts.pending} not done${skipped}.`,
    ...failures.map(({ attempts, error, id, name }) => `  ${name} (${id}): ${tries(error, attempts)}`),
    ...(counts.failed > failures.length ? ['  …'] : []),
    '',
    ...advice(report).map((line) => `- ${line}`),
  ]
  return `${lines.join('\n')}\n`
}

function reasonWords(reason: StopReason): string {
  switch (reason) {
    case 'canary':
      return 'a canary failed'
    case 'failures':
      return 'more tenants failed than --max-failures allows'
    case 'server':
      return 'the shared tables of a data server could not be migrated'
    case 'interrupted':
      return 'it was asked to stop'
    case 'taken over':
      return 'the claim on the run could not be renewed in time, and another process may go on with it'
    case 'incomplete':
      return 'all had their turn, but not all could be migrated'
  }
}

function advice({ failures, reason }: FleetReport): readonly string[] {
  const codes = new Set(failures.map(({ error }) => error))
  return [
    ...(codes.has('55P03')
      ? [
          '55P03: a transaction of the tenant held a lock for longer than --lock-timeout-ms. ' +
            'End it (pg_stat_activity), or come back at a quieter time.',
        ]
      : []),
    ...(codes.has('MIGRATION_MISMATCH')
      ? ['MIGRATION_MISMATCH: what ran there is not what sql/app holds. Put the changed file back.']
      : []),
    ...(failures.length > 0
      ? ['A code of five characters is an SQLSTATE; the log of the data server has the message.']
      : []),
    reason === 'interrupted' || reason === 'taken over'
      ? 'Run the same command again: it goes on where it stopped.'
      : 'Then run the same command again: it goes on where it stopped, and tries the failed ones anew.',
  ]
}

function tries(error: string | null, attempts: number): string {
  return attempts > 1 ? `${error} after ${attempts} tries` : `${error}`
}

function nameOf({ name, namespace }: FleetTenant): string {
  return namespace === 'default' ? name : `${namespace}/${name}`
}
