import { setTimeout as sleep } from 'node:timers/promises'
import type { Db } from '../pool/statement.ts'
import { insertChange } from './change-store.ts'
import type { ChangeLog, NewChange } from './changes.ts'
import type { ControlDb } from './control-database.ts'
import { countBehind } from './node-store.ts'

export interface ControlChangeLogOptions {
  readonly db: Db
  /** How long a node may be silent before it does not count any more. */
  readonly leaseMs: number
}

/** First and longest pause between two looks at how far the nodes are. */
const LOOK_MS = 20
const LONGEST_LOOK_MS = 250

/** ControlChangeLog keeps the changes in the control database. */
export class ControlChangeLog implements ChangeLog {
  readonly #options: ControlChangeLogOptions

  constructor(options: ControlChangeLogOptions) {
    this.#options = options
  }

  publish(tx: ControlDb, change: NewChange): Promise<bigint> {
    return insertChange(tx, change)
  }

  async settled(version: bigint, signal: AbortSignal): Promise<void> {
    const { db, leaseMs } = this.#options
    for (let pause = LOOK_MS; ; pause = Math.min(2 * pause, LONGEST_LOOK_MS)) {
      signal.throwIfAborted()
      if ((await countBehind(db, version, leaseMs)) === 0) return
      await sleep(pause, undefined, { signal })
    }
  }
}
