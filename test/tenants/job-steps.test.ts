import t from 'tap'
import {
  DELETE_STEPS,
  DEMOTE_STEPS,
  ONBOARD_STEPS,
  PROMOTE_STEPS,
  ROTATE_STEPS,
} from '../../src/tenants/job.ts'

t.test(
  'the steps of jobs keep their names, which the control database has of jobs that are under way',
  async (t) => {
    t.strictSame(
      { ONBOARD_STEPS, DELETE_STEPS, ROTATE_STEPS, PROMOTE_STEPS, DEMOTE_STEPS },
      {
        ONBOARD_STEPS: ['reserve', 'logins', 'credential', 'check', 'key', 'activate'],
        DELETE_STEPS: ['begin', 'drain', 'logins', 'rows', 'bury'],
        ROTATE_STEPS: ['begin', 'login', 'credential', 'check', 'flip', 'drain', 'retire'],
        PROMOTE_STEPS: ['begin', 'partition', 'copy', 'verify', 'switch', 'note'],
        DEMOTE_STEPS: ['begin', 'return', 'note'],
      },
    )
  },
)
