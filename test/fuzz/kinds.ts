import type { Family, Kind } from './kind.ts'
import { ANSWERS, HUGE } from './kinds/answers.ts'
import { CANCELS, DDL, POOLS, TERMINATIONS } from './kinds/disturbances.ts'
import { GOOD } from './kinds/good.ts'
import { BURSTS, PARAMETERS } from './kinds/parameters.ts'
import { REFUSED } from './kinds/refused.ts'
import { COPY, DEALLOCATE, SESSION, SETTINGS_LEFT } from './kinds/session.ts'
import { TRANSACTIONS } from './kinds/transactions.ts'

/** KINDS is every kind of work that the fuzz knows, by family. */
export const KINDS: Readonly<Record<Family, readonly Kind[]>> = {
  good: GOOD,
  parameters: PARAMETERS,
  bursts: BURSTS,
  refused: REFUSED,
  answers: ANSWERS,
  session: SESSION,
  transactions: TRANSACTIONS,
  copy: COPY,
  deallocate: DEALLOCATE,
  cancels: CANCELS,
  terminations: TERMINATIONS,
  ddl: DDL,
  huge: HUGE,
  pools: POOLS,
  settings: SETTINGS_LEFT,
}

/**
 * SHARE is each family's part of the units of work of a caller that is not only good, in thousandths. What blocks
 * connections or costs them is rare, so that the other work goes on.
 */
export const SHARE: Readonly<Record<Family, number>> = {
  good: 700,
  parameters: 80,
  bursts: 5,
  refused: 80,
  answers: 60,
  session: 30,
  transactions: 40,
  copy: 4,
  deallocate: 6,
  cancels: 12,
  terminations: 4,
  ddl: 10,
  huge: 1,
  pools: 8,
  settings: 8,
}
