import type { Clock } from './clock.ts'
import { isLessorError } from './errors.ts'

/**
 * TASKS is the work that a process repeats by itself, by the names that logs and metrics have for it. Work on one
 * tenant is none of it, but a job.
 */
export const TASKS = [
  /** Answers to an Idempotency-Key that have expired are removed. */
  'answers',
  /** The changes of other processes are read. */
  'changes',
  /** Old changes are removed. */
  'changes_trim',
  /** The limits of tenants' logins follow the number of processes. */
  'connection_limits',
  /** What changes have added to the numbers of tenants is summed up. */
  'counts',
  /** Data servers that were away at the start are made ready. */
  'data_servers',
  /** It is counted which jobs fail again and again. */
  'failing_jobs',
  /** The walls between tenants are tried. */
  'isolation',
  /** Jobs that were left behind are taken over. */
  'jobs',
  /** The announcements of other processes are heard. */
  'listener',
  /** The lease of this process, and its shares of the data servers, are renewed. */
  'node_lease',
  /** Tenants' logins are made to follow their status. */
  'settlements',
  /** Idle pools are evicted. */
  'sweep',
  /** It is looked whether this process has all vault keys that are in use. */
  'vault_keys',
  /** Persons' logins whose time is over are dropped. */
  'visits',
  /** The data servers are watched. */
  'watchdog',
] as const
export type TaskName = (typeof TASKS)[number]

/** FAILING_RUNS is how many runs in a row have to fail until a task counts as one that fails again and again. */
export const FAILING_RUNS = 3

/** TaskState is what is known of a task since the start of the process. */
export interface TaskState {
  readonly name: TaskName
  readonly runs: { readonly ok: number; readonly failed: number }
  /** Runs that have failed since the last one that went well. */
  readonly failedInARow: number
  /** When a run last went well, by the clock; undefined before that. */
  readonly lastOkAt: number | undefined
  /** For how long the oldest run by `Tasks.run` or `begin` has been under way; 0 while there is none. A run that never ends shows here alone. */
  readonly runningMs: number
}

/** Past is what a task has behind it. */
type Past = Omit<TaskState, 'name' | 'runningMs'>

/** TaskObserver hears of what operators should know; must not throw. */
export interface TaskObserver {
  /** A run that was made by `Tasks.run` has failed; the next one comes by itself. */
  failed(name: TaskName, error: unknown): void
  /** The last `FAILING_RUNS` runs have failed; told once, until a run goes well. */
  failing(name: TaskName): void
  /** A run went well after so many that had not, `FAILING_RUNS` at least. */
  worksAgain(name: TaskName, failures: number): void
}

export interface TasksOptions {
  readonly clock: Clock
  readonly observer: TaskObserver
}

/** Tasks knows how the runs of each task went, so that one that fails for good is seen. */
export class Tasks {
  readonly #options: TasksOptions
  readonly #states = new Map<TaskName, Past>()
  readonly #running = new Set<{ readonly name: TaskName; readonly since: number }>()

  constructor(options: TasksOptions) {
    this.#options = options
  }

  /** run makes one run of a task: what it throws is told and counted. Resolves when it has ended; never rejects. */
  async run(name: TaskName, work: () => unknown): Promise<void> {
    const run = { name, since: this.#options.clock.now() }
    this.#running.add(run)
    try {
      await work()
      this.ended(name, 0)
    } catch (error) {
      // Nothing is wrong with work that ends since the process does.
      if (isLessorError(error, 'SHUTTING_DOWN')) return
      this.#options.observer.failed(name, error)
      this.ended(name, 1)
    } finally {
      this.#running.delete(run)
    }
  }

  /**
   * begin is for a run that is made elsewhere, as `ended` is, and that begins and ends at one place: what it returns is to be
   * called once, when the run has ended.
   */
  begin(name: TaskName): (failures: number) => void {
    const run = { name, since: this.#options.clock.now() }
    this.#running.add(run)
    return (failures) => {
      this.#running.delete(run)
      this.ended(name, failures)
    }
  }

  /** ended counts a run that was made elsewhere, which tells by itself why it failed; `failures` is how many of its parts did. */
  ended(name: TaskName, failures: number): void {
    const { clock, observer } = this.#options
    const before = this.#stateOf(name)
    const { failed, ok } = before.runs
    if (failures > 0) {
      const failedInARow = before.failedInARow + 1
      this.#states.set(name, { ...before, runs: { ok, failed: failed + 1 }, failedInARow })
      if (failedInARow === FAILING_RUNS) observer.failing(name)
      return
    }
    this.#states.set(name, { runs: { ok: ok + 1, failed }, failedInARow: 0, lastOkAt: clock.now() })
    if (before.failedInARow >= FAILING_RUNS) observer.worksAgain(name, before.failedInARow)
  }

  /** list is the state of every task, one that has not run included. */
  list(): readonly TaskState[] {
    const now = this.#options.clock.now()
    const runningMs = new Map<TaskName, number>()
    for (const { name, since } of this.#running) {
      runningMs.set(name, Math.max(now - since, runningMs.get(name) ?? 0))
    }
    return TASKS.map((name) => ({ name, ...this.#stateOf(name), runningMs: runningMs.get(name) ?? 0 }))
  }

  /** failing names the tasks that fail again and again. */
  failing(): readonly TaskName[] {
    return this.list()
      .filter(({ failedInARow }) => failedInARow >= FAILING_RUNS)
      .map(({ name }) => name)
  }

  #stateOf(name: TaskName): Past {
    return this.#states.get(name) ?? { runs: { ok: 0, failed: 0 }, failedInARow: 0, lastOkAt: undefined }
  }
}
