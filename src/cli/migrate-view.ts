import type { Writable } from 'node:stream'
import { MultiBar } from 'cli-progress'
import type { FleetEvent, FleetPreview, FleetReport } from '../fleet/fleet.ts'
import type { CliIo } from './command.ts'
import { eventLine, previewLine, reportText } from './migrate-words.ts'

/** MigrateView shows people or programs what a run does. */
export interface MigrateView {
  event(event: FleetEvent): void
  preview(preview: FleetPreview): void
  report(report: FleetReport): void
  /** close takes down what moves; also when the run threw. */
  close(): void
}

/** How often a log hears how far it is. */
const LINE_MS = 5_000

/** migrateView is a bar where somebody watches, lines where not, and JSON lines for programs. */
export function migrateView(io: CliIo, isJson: boolean): MigrateView {
  if (isJson) return jsonView(io.stdout)
  return io.isInteractive ? barView(io) : lineView(io)
}

/** Tally follows a run's events for the ways to show them. */
class Tally {
  total = 0
  through = 0
  failed = 0

  event(event: FleetEvent): void {
    if (event.kind === 'begin') {
      const { done, failed, pending, skipped } = event.counts
      this.total = done + failed + pending + skipped
      this.through = this.total - pending
    }
    if (event.kind !== 'tenant' || event.outcome.state === 'pending') return
    this.through++
    if (event.outcome.state === 'failed') this.failed++
  }
}

function barView({ stdout, stderr }: CliIo): MigrateView {
  const tally = new Tally()
  const bars = new MultiBar({
    // The driver's types ask for more than it uses.
    stream: stderr as NodeJS.WritableStream,
    format: '{bar} {percentage}% {value}/{total} tenants, {failed} failed, {eta_formatted} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    gracefulExit: false,
  })
  let bar: ReturnType<MultiBar['create']> | undefined
  return {
    event(event) {
      tally.event(event)
      if (event.kind === 'begin') bar ??= bars.create(tally.total, tally.through, { failed: 0 })
      bar?.setTotal(Math.max(tally.total, tally.through))
      bar?.update(tally.through, { failed: tally.failed })
      const line = eventLine(event)
      if (line !== undefined) bars.log(`${line}\n`)
    },
    preview: (preview) => print(stdout, previewLine(preview)),
    report: (report) => stdout.write(reportText(report)),
    close() {
      if (bar === undefined) return
      // `stop` alone would drop the lines that wait for the next redraw.
      bars.update()
      bars.stop()
      bar = undefined
    },
  }
}

function lineView({ stdout, stderr }: CliIo): MigrateView {
  const tally = new Tally()
  let shown = -1
  const timer = setInterval(() => {
    if (tally.total === 0 || shown === tally.through) return
    shown = tally.through
    print(stderr, `${tally.through} of ${tally.total} tenants, ${tally.failed} failed`)
  }, LINE_MS)
  timer.unref()
  return {
    event(event) {
      tally.event(event)
      const line = eventLine(event)
      if (line !== undefined) print(stderr, line)
    },
    preview: (preview) => print(stdout, previewLine(preview)),
    report: (report) => stdout.write(reportText(report)),
    close: () => clearInterval(timer),
  }
}

function jsonView(stdout: Writable): MigrateView {
  const write = (value: object) => print(stdout, JSON.stringify(value))
  return {
    event(event) {
      switch (event.kind) {
        case 'begin': {
          const { counts, resumed, runId, target } = event
          return write({
            event: 'begin',
            run: runId,
            target,
            resumed,
            counts,
            failures_allowed: event.failuresAllowed,
          })
        }
        case 'server':
          return write({ event: 'server', server: event.server, ...event.outcome })
        case 'wave':
          return write({ event: 'wave', canary: event.canary, number: event.number, size: event.size })
        case 'retry':
          return write({ event: 'retry', name: event.name, error: event.error, wait_ms: event.waitMs })
        case 'tenant': {
          const { id, name, namespace, placement, server } = event.tenant
          const tenant = { tenant: id, name, namespace, placement, server }
          return write({ event: 'tenant', ...tenant, canary: event.canary, ...event.outcome })
        }
        case 'stopping':
          return write({ event: 'stopping', reason: event.reason, under_way: event.underWay })
      }
    },
    preview({ error, server, tenant, wouldRun }) {
      const whose = tenant && { tenant: tenant.id, name: tenant.name, placement: tenant.placement }
      write({ event: 'preview', server, ...whose, would_run: wouldRun, error })
    },
    report: ({ runId, ...report }) => write({ event: 'report', run: runId, ...report }),
    close() {},
  }
}

function print(stream: Writable, line: string): void {
  stream.write(`${line}\n`)
}
