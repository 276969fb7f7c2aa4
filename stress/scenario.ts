import type { VariableName } from '../src/config-variables.ts'
import type { K6Figures } from './run-k6.ts'
import type { Exit } from './server-process.ts'
import type { ServiceFigures } from './service-figures.ts'

/** Figures is everything that was measured in one run of a scenario. */
export interface Figures {
  readonly k6: K6Figures
  readonly service: ServiceFigures
  readonly end: {
    /** How the service ended after SIGTERM. */
    readonly exit: Exit
    readonly isPostgresLeft: boolean
  }
}

/** Claim is one thing that a run must show. */
export interface Claim {
  readonly claim: string
  readonly held: boolean
  /** What was seen instead. */
  readonly seen?: string
}

/**
 * Scenario is one way to stress the service: `stress/k6/<name>.js` does the calling, this says how
 * the service is configured meanwhile and what must hold afterwards.
 */
export interface Scenario {
  readonly name: string
  /** One line for the list of scenarios. */
  readonly about: string
  /** Variables of the service, over its defaults. */
  readonly service: Readonly<Partial<Record<VariableName, string>>>
  /** What the script reads from `__ENV`, besides LESSOR_URL and OPERATOR_KEY. */
  readonly script: Readonly<Record<string, string>>
  /** Longest time from the start of the service to its end. */
  readonly maxSeconds: number
  /** What must hold besides the claims of every scenario (see claims.ts). */
  claims(figures: Figures): readonly Claim[]
}
