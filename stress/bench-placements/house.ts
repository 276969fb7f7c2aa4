import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres, { type Sql } from 'postgres'
import { PLACEMENTS, type PlacementName } from '../../src/tenants/tenant.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { RunnerDatabase } from '../runner-database.ts'
import { BenchService, type BenchTenant } from './service.ts'

/** PerPlacement is one of something for each placement. */
export type PerPlacement<T> = Readonly<Record<PlacementName, T>>

/** perPlacement makes one of something for each placement. */
export function perPlacement<T>(make: (placement: PlacementName) => T): PerPlacement<T> {
  return { row: make('row'), role: make('role'), schema: make('schema'), database: make('database') }
}

/** rotated is the placements in the order of a round: each is first in turn, so that none is always measured first. */
export function rotated(round: number): readonly PlacementName[] {
  const first = round % PLACEMENTS.length
  return [...PLACEMENTS.slice(first), ...PLACEMENTS.slice(0, first)]
}

/** Serving is a service that is up for one part of the measurements. */
export interface Serving {
  readonly service: BenchService
  /** The administrator's connection to the database. */
  readonly admin: Sql
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

/** Tenants is who was onboarded, by placement. */
export type Tenants = PerPlacement<readonly BenchTenant[]>

export interface HouseOptions {
  /** More arguments for Node in the service's process, such as --cpu-prof. */
  readonly nodeArguments?: readonly string[]
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

/** House is the database, and all that is needed to serve on it. */
export interface House extends HouseOptions {
  readonly admin: Sql
  readonly databaseUrl: string
  readonly operatorKey: string
  readonly vaultKeys: string
  readonly folder: string
  /** serve starts the service with these variables, and resolves when it has ended again, with what `fn` made of it. */
  serve<T>(
    name: string,
    environment: Readonly<Record<string, string>>,
    fn: (serving: Serving) => Promise<T>,
  ): Promise<T>
}

/**
 * buildHouse starts an embedded PostgreSQL that writes to disk as a real one does; it ends with `resources`, and
 * nothing is left of it.
 */
export async function buildHouse(resources: AsyncDisposableStack, options: HouseOptions): Promise<House> {
  const { nodeArguments = [], signal, onProgress } = options
  const folder = await mkdtemp(join(tmpdir(), 'lessor-bench-'))
  const stateDir = join(folder, 'state')
  resources.defer(() => remove(folder, stateDir))
  // Under root PostgreSQL runs as another user, who must pass through.
  await chmod(folder, 0o711)
  const database = await RunnerDatabase.start(stateDir, signal)
  resources.defer(() => database.stop())
  const admin = postgres(database.url, { max: 1, onnotice: () => {} })
  resources.defer(() => admin.end({ timeout: 1 }))
  const shared = {
    databaseUrl: database.url,
    operatorKey: randomBytes(32).toString('base64url'),
    vaultKeys: generateVaultKeys(),
    folder,
    nodeArguments,
    signal,
  }
  return {
    ...shared,
    admin,
    onProgress,
    async serve(name, environment, fn) {
      const service = await BenchService.start({ ...shared, name, environment })
      try {
        return await fn({ service, admin, signal, onProgress })
      } finally {
        await service.stop()
      }
    },
  }
}

async function remove(folder: string, stateDir: string): Promise<void> {
  // Where the folder is closed to PostgreSQL's user, the data lies elsewhere, behind a link.
  const data = await realpath(join(stateDir, 'postgres')).catch(() => stateDir)
  for (const path of [data, folder]) await rm(path, { recursive: true, force: true })
}
