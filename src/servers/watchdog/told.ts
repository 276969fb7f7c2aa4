import type { Ending } from './policy.ts'

/**
 * Told is what a watch has ended, for as long as it is still there: a session that was ended may take some passes until it is
 * gone. It is told of and counted once.
 */
export class Told {
  #before = new Set<string>()
  #now = new Set<string>()

  /** begin begins a pass; what the pass before did not see is forgotten. */
  begin(): void {
    this.#before = this.#now
    this.#now = new Set()
  }

  /** has says whether an ending of this pass was told of in an earlier one; then it is still there. */
  has(ending: Ending): boolean {
    const key = keyOf(ending)
    if (!this.#before.has(key)) return false
    this.#now.add(key)
    return true
  }

  /** add notes that an ending of this pass is told of. */
  add(ending: Ending): void {
    this.#now.add(keyOf(ending))
  }
}

/** The server gives out process ids again, and may not show when a process started; a worker goes on to another table. */
function keyOf({ target }: Ending): string {
  switch (target.kind) {
    case 'session':
      return `${target.session.pid} ${target.session.login} ${target.session.startedAt}`
    case 'prepared':
      return `prepared ${target.prepared.database} ${target.prepared.gid}`
    case 'worker':
      return `${target.worker.pid} ${target.worker.startedAt} ${target.worker.work}`
  }
}
