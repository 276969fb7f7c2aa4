import { Writable } from 'node:stream'
import type { CliIo } from '../../src/cli/command.ts'

/** TestIo is a process that keeps what a command writes. */
export interface TestIo extends CliIo {
  out(): string
  err(): string
}

/** testIo stands in for the process of a command; nobody watches it unless `isInteractive`. */
export function testIo(
  options: Partial<Pick<CliIo, 'environment' | 'signal' | 'isInteractive'>> = {},
): TestIo {
  const [stdout, stderr] = [new Memory(), new Memory()]
  return {
    environment: {},
    signal: new AbortController().signal,
    isInteractive: false,
    ...options,
    stdout,
    stderr,
    out: () => stdout.text,
    err: () => stderr.text,
  }
}

class Memory extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}
