import { parseArgs } from 'node:util'
import type { Command } from './command.ts'

/** serveCommand runs the service; `lessor` alone does the same. */
export const serveCommand: Command = {
  name: 'serve',
  summary: 'Run the service (what `lessor` alone does)',
  usage: `Usage: lessor [serve]

Runs the service until SIGINT or SIGTERM. Everything comes from the environment; see .env.example.
`,
  ownsSignals: true,
  async run(args) {
    parseArgs({ args: [...args], options: {} })
    // An entry of its own: it runs when it is loaded, and stays for as long as it serves.
    await import('../server.ts')
    return 0
  },
}
