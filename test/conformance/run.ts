// Which placements does a server of the PostgreSQL protocol carry? npm run conformance -- --url <url>
import { parseArgs } from 'node:util'
import { isLessorError } from '../../src/errors.ts'
import { PLACEMENTS, type PlacementName } from '../../src/tenants/tenant.ts'
import { startTestServer } from '../support/server.ts'
import { runConformance } from './conformance.ts'
import { formatReport } from './report.ts'
import { UnusableTarget } from './target.ts'

const USAGE = `npm run conformance -- --url <url> [--placement <name>]... [--json] [--keep]

Tries a server of the PostgreSQL protocol: the probe of its capabilities, then for each placement that it
carries the users suite and the isolation proof. Exits with 0 when each of these passes, else with 1.

  --url <url>         an administrator's login, postgres://user:password@host:port/database. The trial makes a
                      database of its own; where it may not, and on Citus, it uses the one of the URL, which must
                      have neither schema app nor schema lessor.
  --placement <name>  tries this one alone (${PLACEMENTS.join(', ')}), and fails when it is not carried; may be repeated
  --json              prints the report as JSON
  --keep              leaves what was made on the server
`

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const options = read(args)
  if (typeof options === 'string') {
    process.stderr.write(`${options}\n\n${USAGE}`)
    return 2
  }
  if (options.help) {
    process.stdout.write(USAGE)
    return 0
  }
  const stopped = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}`)))
  }
  const control = await startTestServer()
  try {
    const report = await runConformance({
      ...options,
      controlUrl: control.url,
      signal: stopped.signal,
      onProgress: (message) => process.stderr.write(`${message}\n`),
    })
    process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`)
    return report.passed ? 0 : 1
  } catch (error) {
    const isAnswer = error instanceof UnusableTarget || isLessorError(error) || stopped.signal.aborted
    if (!isAnswer) throw error
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  } finally {
    await control.stop()
  }
}

function read(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        url: { type: 'string' },
        placement: { type: 'string', multiple: true },
        json: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    const { url = process.env.CONFORMANCE_URL ?? '', placement, json, keep, help } = values
    if (url === '' && !help) return 'Name the server: --url <url>'
    if (!help && !/^postgres(ql)?:\/\//.test(url)) return '--url must begin with postgres://'
    const wrong = placement?.find((name) => !isPlacement(name))
    if (wrong !== undefined) return `There is no placement "${wrong}"`
    return { url, json, keep, help, ...(placement && { only: placement.filter(isPlacement) }) }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function isPlacement(name: string): name is PlacementName {
  return (PLACEMENTS as readonly string[]).includes(name)
}
