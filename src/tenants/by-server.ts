import { answersWithin } from '../servers/answers-within.ts'

/** Outcome is what came of work on one item; `unreachable` where the error said that the data server could not be used. */
export type Outcome = 'done' | 'failed' | 'unreachable'

const PING_MS = 2_000

/**
 * byServer does work on each item, on all data servers at once and one after the other on each. What is left of a data
 * server that does not answer is left for a later run; one that answers all the same, as where only one tenant's database
 * is gone, is gone on with. `work` must not reject.
 */
export async function byServer<T extends { readonly server: string }>(
  items: readonly T[],
  servers: { ping(server: string): Promise<void> },
  work: (item: T) => Promise<Outcome>,
): Promise<void> {
  await Promise.all(
    [...Map.groupBy(items, ({ server }) => server)].map(async ([server, own]) => {
      for (const item of own) {
        if ((await work(item)) !== 'unreachable') continue
        if (!(await answersWithin(servers.ping(server), PING_MS))) return
      }
    }),
  )
}
