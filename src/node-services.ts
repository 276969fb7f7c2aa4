import { randomUUID } from 'node:crypto'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import { ChangeFeed } from './control/change-feed.ts'
import { CHANGE_CHANNEL, trimChanges } from './control/change-store.ts'
import type { ChangeHandler } from './control/changes.ts'
import type { ControlDatabase } from './control/control-database.ts'
import type { DatabaseAddress } from './control/database-url.ts'
import { Listener } from './control/listener.ts'
import { NODE_CHANNEL } from './control/node-store.ts'
import { Nodes, type Shares } from './control/nodes.ts'
import type { Outage } from './control/outage.ts'
import { readOwnProcess } from './control/own-process.ts'
import { VAULT_KEY_CHANNEL } from './control/vault-key-store.ts'
import type { Logger } from './http/logger.ts'
import type { Tasks } from './tasks.ts'

export interface NodeServicesOptions {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly control: ControlDatabase
  /** The control database's address. */
  readonly address: DatabaseAddress
  readonly outage: Outage
  readonly shares: Shares
  readonly tasks: Pick<Tasks, 'run' | 'ended'>
  /** Called when another process may seal with a key that none sealed with before. */
  readonly onVaultKey: () => void
  readonly handler: ChangeHandler
}

/** How long changes are kept, and how often those that are older are removed. */
const KEEP_MS = 3_600_000
const TRIM_MS = 300_000

/** NodeServices is what makes this process one of several; `createNodeServices` makes it. */
export type NodeServices = ReturnType<typeof createNodeServices>

/** createNodeServices wires the node's lease and shares, the change feed and the listener. Nothing runs before `start`. */
export function createNodeServices(options: NodeServicesOptions) {
  const { config, logger, clock, control, address, outage, shares, tasks, onVaultKey, handler } = options
  const nodes = new Nodes({
    db: control,
    clock,
    id: randomUUID(),
    process: readOwnProcess(),
    leaseMs: config.nodes.leaseMs,
    shares,
    applied: () => feed.applied,
    onWaiting: () => logger.info('waiting until a part of the connections to the data server comes free'),
    onSilent: (error) =>
      logger.warn({ err: error }, 'the lease of this node has run out, it opens no more than it has in use'),
    onHeard: () => logger.info('this node has a lease again'),
    onTurn: (failures) => tasks.ended('node_lease', failures),
  })
  const feed = new ChangeFeed({
    db: control,
    clock,
    pollMs: config.nodes.pollMs,
    handler,
    outage: {
      failed(error) {
        tasks.ended('changes', 1)
        outage.failed(error)
      },
      answered(askedAt) {
        tasks.ended('changes', 0)
        outage.answered(askedAt)
      },
    },
    onApplied: () => nodes.report(),
    onResync() {
      logger.warn('changes were missed, all that was remembered is read again')
      // Of a log that begins again less is done than the row says.
      nodes.report()
    },
    onError: (error) => logger.error({ err: error }, 'a change could not be applied'),
  })
  const listener = new Listener({
    address,
    connectTimeoutMs: config.pools.connectTimeoutMs,
    channels: {
      [CHANGE_CHANNEL]: () => void feed.poll(),
      [NODE_CHANNEL]: (id) => nodes.wake(id),
      [VAULT_KEY_CHANNEL]: onVaultKey,
    },
    onListening: () => {
      tasks.ended('listener', 0)
      void feed.poll()
      nodes.wake()
      onVaultKey()
    },
    onLost(error) {
      tasks.ended('listener', 1)
      logger.debug({ err: error }, 'not listening for changes, polling for them')
    },
  })
  let trimming: NodeJS.Timeout | undefined
  let isTrimming = false

  /** One that takes longer than the pause between two is not begun again meanwhile. */
  async function trim(): Promise<void> {
    if (isTrimming) return
    isTrimming = true
    await tasks.run('changes_trim', () => trimChanges(control, KEEP_MS))
    isTrimming = false
  }

  return {
    nodes,
    feed,

    /** start resolves when the node has its share and hears of changes. @throws what Nodes.start throws */
    async start(): Promise<void> {
      await feed.start()
      trimming = setInterval(() => void trim(), TRIM_MS)
      trimming.unref()
      listener.start()
      await nodes.start()
    },

    /** stop leaves the nodes; call it when the pools are closed. Never rejects. */
    async stop(): Promise<void> {
      if (trimming === undefined) return
      clearInterval(trimming)
      await Promise.all([listener.stop(), feed.stop()])
      await nodes.stop()
    },
  }
}
