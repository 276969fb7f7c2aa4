import type { FleetRequest } from '../fleet/fleet.ts'
import type { Lessor } from '../lessor.ts'
import type { CliIo, Command } from './command.ts'
import { MIGRATE_USAGE, type MigrateOptions, parseMigrateArgs } from './migrate-options.ts'
import { type MigrateView, migrateView } from './migrate-view.ts'
import { withLessor } from './with-lessor.ts'

type Fleet = Lessor['fleet']

/** migrateCommand brings the tables of all tenants to the newest version. */
export const migrateCommand: Command = {
  name: 'migrate',
  summary: "Bring all tenants' tables to the newest version",
  usage: MIGRATE_USAGE,
  async run(args, io) {
    const options = parseMigrateArgs(args)
    const opening = options.isDryRun ? 'look' : 'control'
    return withLessor(io, ({ fleet }) => migrateFleet(fleet, options, io), opening)
  },
}

/** migrateFleet does what the arguments say and resolves with the exit status: 0 all are at the newest version, 1 not all. */
export async function migrateFleet(fleet: Fleet, options: MigrateOptions, io: CliIo): Promise<number> {
  const request = await toRequest(fleet, options)
  const view = migrateView(io, options.isJson)
  try {
    return options.isDryRun ? await preview(fleet, request, view, io) : await run(fleet, request, view, io)
  } finally {
    view.close()
  }
}

async function run(fleet: Fleet, request: FleetRequest, view: MigrateView, io: CliIo): Promise<number> {
  const report = await fleet.migrate(request, (event) => view.event(event), io.signal)
  view.close()
  view.report(report)
  return report.state === 'finished' ? 0 : 1
}

async function preview(fleet: Fleet, request: FleetRequest, view: MigrateView, io: CliIo): Promise<number> {
  let errors = 0
  await fleet.preview(
    request,
    (each) => {
      if (each.error !== null) errors++
      view.preview(each)
    },
    io.signal,
  )
  return errors > 0 || io.signal.aborted ? 1 : 0
}

async function toRequest(fleet: Fleet, options: MigrateOptions): Promise<FleetRequest> {
  const tenants = await Promise.all(options.tenants.map((each) => fleet.find(each)))
  const canaries = await Promise.all(options.canaries.map((each) => fleet.find(each)))
  // A tenant's files may need what the shared part of its data server gets, but no other's.
  const servers = options.servers.length > 0 ? options.servers : tenants.map(({ server }) => server)
  return {
    filter: {
      servers: [...new Set(servers)].sort(),
      placements: options.placements,
      tenants: tenants.map(({ id }) => id).sort(),
    },
    options: { ...options.fleet, canaries: canaries.map(({ id }) => id) },
  }
}
