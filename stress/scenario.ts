import type { VariableName } from '../src/config-variables.ts'
import type { StandardClaim } from './claims.ts'
import type { K6Figures } from './run-k6.ts'
import type { Exit } from './server-process.ts'
import type { ServiceFigures } from './service-figures.ts'
import type { Stage } from './stage.ts'

/** Facts is what a scenario has measured by itself, by name. */
export type Facts = Readonly<Record<string, number>>

/** Figures is everything that was measured in one run of a scenario. */
export interface Figures {
  readonly k6: K6Figures
  readonly service: ServiceFigures
  readonly facts: Facts
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
  /** Whose PostgreSQL it is: one that the service starts and stops, or one that is there before and after it. */
  readonly database?: 'service' | 'runner'
  /** Claims of every run that do not hold here, since something is broken on purpose; see claims.ts. */
  readonly excused?: readonly StandardClaim[]
  /** before runs when the service is up, and ends before k6 calls it. */
  before?(stage: Stage): Promise<void>
  /** meanwhile runs while k6 calls the service. */
  meanwhile?(stage: Stage): Promise<Facts>
  /** after runs when k6 has ended. */
  after?(stage: Stage): Promise<Facts>
  /** What must hold besides the claims of every scenario (see claims.ts). */
  claims(figures: Figures): readonly Claim[]
}
