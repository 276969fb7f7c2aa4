import type { Clock } from './clock.ts'
import type { Logger } from './http/logger.ts'
import { Tasks } from './tasks.ts'

/** createTasks makes what counts the runs of repeated work, and logs each that fails by its name. */
export function createTasks({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }): Tasks {
  return new Tasks({
    clock,
    observer: {
      failed: (task, error) => logger.warn({ err: error, task }, 'a task failed, it will be run again'),
      failing: (task) => logger.error({ task }, 'a task fails again and again, what it is for is not done'),
      worksAgain: (task, failures) => logger.info({ task, failures }, 'a task that had failed works again'),
    },
  })
}
