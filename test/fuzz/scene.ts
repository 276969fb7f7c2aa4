import { isLessorError } from '../../src/errors.ts'
import type { Caller, Lease, PoolKey, Pools } from '../../src/pool/contract.ts'
import type { Db } from '../../src/pool/statement.ts'
import type { ConnectionLog } from './connection-log.ts'
import type { Findings, Sort } from './findings.ts'
import type { Hazards } from './hazards.ts'
import type { House } from './house.ts'
import { type Asking, codeOf, type Question, show } from './question.ts'
import type { Random } from './random.ts'
import type { FuzzTenant } from './tenant.ts'
import { CutError, HangError, type Watch } from './watch.ts'

/** A unit of work is several statements, one after the other. */
const UNIT = 4

/** Outcome is what has come of a question: its rows, or its error. */
export type Outcome = { readonly rows: readonly object[] } | { readonly error: unknown }

/** Stage is what all scenes of a round have in common. */
export interface Stage {
  readonly house: House
  readonly pools: Pools
  readonly log: ConnectionLog
  readonly hazards: Hazards
  readonly findings: Findings
  readonly watch: Watch
  /** The next number that no other question has. */
  readonly nonce: () => number
  /** counted hears of each statement once it is over. */
  readonly counted: (kind: string, outcome: string) => void
  /** Generations of the tenants, by id; a rotation raises one. */
  readonly generations: Map<string, number>
  /** good makes a question that has a right answer. */
  readonly good: (asking: Asking, name?: string) => { readonly kind: string; readonly question: Question }
}

interface AskOptions {
  readonly isInTransaction?: boolean
  /** Codes that it may get besides those that are allowed in the round. */
  readonly allows?: readonly string[]
}

/** Scene is one unit of work of one caller: whose it is, how it reaches the engine, and the judge of all that it hears. */
export class Scene {
  readonly tenant: FuzzTenant
  readonly random: Random
  readonly kind: string
  readonly stage: Stage

  constructor(stage: Stage, tenant: FuzzTenant, random: Random, kind: string) {
    this.stage = stage
    this.tenant = tenant
    this.random = random
    this.kind = kind
  }

  get key(): PoolKey {
    return { tenantId: this.tenant.id, generation: this.stage.generations.get(this.tenant.id) ?? 1 }
  }

  /** as is the same for another tenant. */
  as(tenant: FuzzTenant): Scene {
    return new Scene(this.stage, tenant, this.random, this.kind)
  }

  asking(): Asking {
    const { tenant, random } = this
    const stranger = random.pick(this.stage.house.tenants.filter((each) => each !== tenant))
    return { tenant, random, stranger, nonce: this.stage.nonce() }
  }

  /** ask asks and judges; never throws. */
  async ask(db: Db, question: Question, options: AskOptions = {}, kind = this.kind): Promise<Outcome> {
    const { log, watch } = this.stage
    log.name(question.statement, `${kind} of ${this.tenant.id.slice(0, 8)}`)
    const outcome = await settled(watch.bound(() => db.query(question.statement)))
    this.#judge(outcome, question, options, kind)
    return outcome
  }

  /** good asks something that has a right answer; every second time the `favourite` kind. */
  good(db: Db, options: AskOptions = {}, favourite?: string): Promise<Outcome> {
    const { kind, question } = this.stage.good(this.asking(), this.random.chance(0.5) ? favourite : undefined)
    return this.ask(db, question, options, kind)
  }

  /**
   * stream asks as that many callers at once, each of them one thing after the other, so that there is always
   * something on its way.
   */
  async stream(db: Db, callers: number, favourite?: string): Promise<void> {
    const asks = async () => {
      for (let i = 0; i < 5; i++) await this.good(db, {}, favourite)
    }
    await Promise.all(Array.from({ length: callers }, asks))
  }

  /**
   * use runs `fn` with a lease of the tenant's pool. `fn` throws nothing; what the engine refuses is judged here.
   */
  async use(
    fn: (db: Db) => Promise<unknown>,
    { caller = new AbortController(), allows = [] }: { caller?: Caller; allows?: readonly string[] } = {},
  ): Promise<void> {
    const { pools, watch } = this.stage
    const outcome = await settled(watch.bound(() => pools.use(this.key, caller, fn), UNIT))
    if ('error' in outcome) this.judgeEnd('lease', outcome.error, allows)
  }

  /** lease is `use` by acquire and release. */
  async lease(fn: (db: Db) => Promise<unknown>): Promise<void> {
    const { pools, watch } = this.stage
    let lease: Lease
    try {
      lease = await watch.bound(() => pools.acquire(this.key, new AbortController()), UNIT)
    } catch (error) {
      this.judgeEnd('lease', error, [])
      return
    }
    await fn(lease.db)
    lease.release()
    // Twice is once.
    if (this.random.chance(0.2)) lease.release()
  }

  /**
   * transaction runs `fn` in one. What `fn` throws must come back as it is; `allows` are codes, and `words` what an
   * error without a code says, that its end may be answered.
   */
  async transaction(
    db: Db,
    fn: (tx: Db) => Promise<unknown>,
    { allows = [], words }: { allows?: readonly string[]; words?: RegExp } = {},
  ): Promise<void> {
    const { watch } = this.stage
    let thrown: unknown
    const outcome = await settled(
      watch.bound(
        () =>
          db.transaction(async (tx) => {
            try {
              await fn(tx)
            } catch (error) {
              thrown = error
              throw error
            }
          }),
        UNIT,
      ),
    )
    if (!('error' in outcome) || (thrown !== undefined && outcome.error === thrown)) return
    if (outcome.error instanceof Error && words?.test(outcome.error.message) === true) return
    this.judgeEnd('end of a transaction', outcome.error, allows)
  }

  /** judgeEnd judges the error of a lease, or of a transaction, which answer no statement. */
  judgeEnd(what: string, error: unknown, allows: readonly string[]): void {
    const code = codeOf(error)
    if (error instanceof CutError) return
    if (allows.includes(code) || this.stage.hazards.allows(this.tenant, code, true)) return
    this.found(isHang(error) ? 'hang' : 'foreign error', `(${what}) in ${this.kind}`, describe(error), [])
  }

  found(sort: Sort, kind: string, what: string, around: readonly string[]): void {
    this.stage.findings.add({ sort, kind, what: `${what} (tenant ${this.tenant.id.slice(0, 8)})`, around })
  }

  #judge(outcome: Outcome, question: Question, options: AskOptions, kind: string): void {
    const verdict = this.#verdict(outcome, question, options)
    this.stage.counted(kind, verdict.outcome)
    if (verdict.wrong === undefined) return
    this.found(verdict.outcome, kind, verdict.wrong, this.stage.log.around(question.statement))
  }

  #verdict(
    outcome: Outcome,
    { answer, error: isOwn }: Question,
    { isInTransaction = false, allows = [] }: AskOptions,
  ): { outcome: Sort; wrong: string } | { outcome: string; wrong?: undefined } {
    const { hazards } = this.stage
    if ('error' in outcome) {
      const { error } = outcome
      const code = codeOf(error)
      if (isHang(error)) return { outcome: 'hang', wrong: describe(error) }
      if (error instanceof CutError) return { outcome: 'given up' }
      if (isOwn?.(error) === true) return { outcome: `own error ${code}` }
      if (allows.includes(code) || hazards.allows(this.tenant, code, isInTransaction))
        return { outcome: `allowed ${code}` }
      if (hazards.isUnsound(this.tenant)) return { outcome: `allowed by its own settings, ${code}` }
      return { outcome: 'foreign error', wrong: describe(error) }
    }
    const wrong = answer === undefined ? `answered ${show(outcome.rows)}` : answer(outcome.rows)
    if (wrong === undefined) return { outcome: 'right' }
    if (this.#hasForeign(outcome.rows)) return { outcome: 'foreign answer', wrong }
    if (hazards.isUnsound(this.tenant)) return { outcome: 'allowed by its own settings' }
    return { outcome: answer === undefined ? 'not refused' : 'wrong answer', wrong }
  }

  /** Whether an answer has in it what is another tenant's. */
  #hasForeign(rows: unknown): boolean {
    const { house } = this.stage
    const written = show(Array.isArray(rows) ? rows.slice(0, 3) : rows, 20_000)
    return house.tenants
      .filter((each) => each !== this.tenant)
      .some(
        ({ id, marker, logins }) =>
          written.includes(id) ||
          written.includes(marker) ||
          (!house.isShared && logins.some((login) => written.includes(login))),
      )
  }
}

function isHang(error: unknown): boolean {
  return error instanceof HangError
}

function describe(error: unknown): string {
  const cause =
    error instanceof Error && error.cause !== undefined ? `, caused by ${String(error.cause)}` : ''
  const code = isLessorError(error) ? ` ${error.code}` : ` ${codeOf(error)}`
  return `${String(error)}${code}${cause}`.slice(0, 400)
}

async function settled(promise: Promise<unknown>): Promise<Outcome> {
  try {
    return { rows: (await promise) as readonly object[] }
  } catch (error) {
    return { error }
  }
}
