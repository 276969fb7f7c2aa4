import { SingleBar } from 'cli-progress'
import type { CliIo } from './command.ts'

/** How often a line is written where nobody watches. */
const LINE_MS = 10_000

/** Progress shows how far a command is: as a bar to who watches, else as a line now and then. */
export interface Progress {
  /** add counts what is done. */
  add(done: number): void
  stop(): void
}

/** showProgress begins at nothing of `total`; `what` names them, as in "tenants". */
export function showProgress(io: CliIo, total: number, what: string): Progress {
  return io.isInteractive ? bar(io, total, what) : lines(io, total, what)
}

function bar(io: CliIo, total: number, what: string): Progress {
  const shown = new SingleBar({
    format: `{bar} {percentage}%  {value} of {total} ${what}  {eta_formatted} left`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    stream: io.stderr,
    noTTYOutput: true,
    // Else it would catch SIGINT itself.
    gracefulExit: false,
    // As many as make a steady guess.
    etaBuffer: 50,
  })
  shown.start(total, 0)
  return { add: (done) => shown.increment(done), stop: () => shown.stop() }
}

function lines(io: CliIo, total: number, what: string): Progress {
  const start = performance.now()
  let written = start
  let all = 0
  return {
    add(done) {
      all += done
      const now = performance.now()
      if (now - written < LINE_MS) return
      written = now
      io.stderr.write(`${all} of ${total} ${what}, ${Math.round((all / (now - start)) * 1000)}/s\n`)
    },
    stop() {},
  }
}
