/** EmbeddedError says why the embedded PostgreSQL cannot run, in words for whoever started the service. */
export class EmbeddedError extends Error {
  override readonly name: string = 'EmbeddedError'
}

/** EmbeddedInUse is thrown when another live process runs the embedded PostgreSQL of this folder. */
export class EmbeddedInUse extends EmbeddedError {
  override readonly name = 'EmbeddedInUse'
  readonly directory: string

  constructor(directory: string, pid: number | undefined) {
    const who = pid === undefined ? 'another process' : `another process (pid ${pid})`
    super(
      `The embedded PostgreSQL in ${directory} is in use by ${who}. Stop it, or set STATE_DIR to another folder.`,
    )
    this.directory = directory
  }
}

/** hasCode narrows an unknown error to a system error of one of these codes, e.g. `ENOENT`. */
export function hasCode(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
