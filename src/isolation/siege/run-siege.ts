import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { hexOf } from '../../placement/tenant-names.ts'
import { type ConnectionTarget, type Locate, type Pools, wayOf } from '../../pool/contract.ts'
import type { PlacementName } from '../../tenants/tenant.ts'
import type { Visits } from '../../tenants/visits.ts'
import { readVersion } from '../../version.ts'
import { CALM } from './attacks.ts'
import { clearAway, rollBackPrepared } from './clear-away.ts'
import { Neighbour, type NeighbourFigures } from './neighbour.ts'
import { type Action, Operator } from './operator.ts'
import { Raiders } from './raiders.ts'
import {
  type Attacker,
  type Finding,
  PARTS,
  type Part,
  type SiegeAttack,
  type SiegeSizes,
  type Victim,
} from './siege-attack.ts'
import { SHUT_OUT } from './siege-markdown.ts'
import { type Battle, brokenBounds, isHeld, OPERATOR_BOUND_MS, type SiegeReport } from './siege-report.ts'
import { Watch } from './watch.ts'
import { readWatchdogCounts, since } from './watchdog-counts.ts'

/** SiegeServices is what a siege takes of the service besides its HTTP interface. */
export interface SiegeServices {
  readonly locate: Locate
  readonly pools: Pick<Pools, 'evict'>
  readonly visits: Pick<Visits, 'open' | 'close'>
}

export interface SiegeOptions extends SiegeServices {
  /** The service, listening, without a path. */
  readonly url: string
  readonly operatorKey: string
  /** A superuser of the data server, who looks and cleans up; the service does not use these sessions. */
  readonly superuser: ConnectionTarget
  readonly placements: readonly PlacementName[]
  readonly attacks: readonly SiegeAttack[]
  /** How long each attack lasts at least. */
  readonly seconds: number
  readonly sizes: SiegeSizes
  readonly signal: AbortSignal
  /** An action of the operator's that is not done by then has failed; two seconds more than its bound by default. */
  readonly patienceMs?: number
  /** Told when a battle begins, and when it is over. */
  readonly onBattle?: (attack: string, placement: PlacementName, battle?: Battle) => void
}

/** How long an attack goes on before the operator comes. */
const LEAD_MS = 1_500
const PATIENCE_MS = 2_000
/** For what is no part of the measurement. */
const CLEAN_UP_MS = 30_000
const POLL_MS = 50
/** How often the neighbours lose their connections, so that new ones must be made while the attack goes on. */
const EVICT_MS = 1_000
const CALLERS = 2
/** Rows of the neighbour's secret. */
const SECRET_ROWS = 2_000

/**
 * runSiege lets the logins of tenants attack, in each placement, while two other tenants read and write through the service and
 * an operator works: what these felt is in the report. The data server is attacked for real.
 * @throws what onboarding and connecting throw in calm; a bound that is broken is in the report
 */
export async function runSiege(options: SiegeOptions): Promise<SiegeReport> {
  const startedAt = new Date()
  const battles: Battle[] = []
  const left: string[] = []
  const watch = new Watch(options.superuser)
  const [version] = await watch.run('show server_version')
  try {
    for (const placement of options.placements) {
      const attacks = options.attacks.filter(({ placements }) => placements.includes(placement))
      if (attacks.length === 0) continue
      const field = await BattleField.open(options, watch, placement)
      try {
        for (const attack of [CALM, ...attacks]) {
          options.signal.throwIfAborted()
          options.onBattle?.(attack.name, placement)
          const battle = await field.fight(attack)
          battles.push(battle)
          options.onBattle?.(attack.name, placement, battle)
        }
      } finally {
        left.push(...(await field.close()))
      }
    }
  } finally {
    await watch.close()
  }
  return {
    held: battles.every(isHeld),
    version: readVersion(),
    server: version?.[0] ?? '',
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    battles,
    left,
  }
}

interface Guest {
  readonly id: string
  readonly key: string
}

interface Siegers {
  readonly attackers: readonly Attacker[]
  /** Ends the login of one of them, where a person was given it. */
  readonly endVisit: (attacker: Attacker) => Promise<void>
}

/** BattleField is one placement with its neighbours, which see all of its attacks. */
class BattleField {
  readonly #options: SiegeOptions
  readonly #placement: PlacementName
  #operator: Operator
  readonly #watch: Watch
  readonly #neighbours: readonly Neighbour[]
  readonly #victim: Victim
  readonly #made: Set<string>
  /** Those that the service could not delete. */
  readonly #stuck = new Set<string>()

  private constructor(
    options: SiegeOptions,
    placement: PlacementName,
    found: {
      readonly operator: Operator
      readonly neighbours: readonly Neighbour[]
      readonly victim: Victim
      readonly made: Set<string>
      readonly watch: Watch
    },
  ) {
    this.#options = options
    this.#watch = found.watch
    this.#placement = placement
    this.#operator = found.operator
    this.#neighbours = found.neighbours
    this.#victim = found.victim
    this.#made = found.made
  }

  /** open onboards a neighbour of the placement, and one of `row`, or of `role` where that is the placement itself. */
  static async open(options: SiegeOptions, watch: Watch, placement: PlacementName): Promise<BattleField> {
    const { url } = options
    const operator = operatorOf(options, OPERATOR_BOUND_MS)
    const made = new Set<string>()
    const secret = secretName()
    const beside = placement === 'row' ? 'role' : 'row'
    const guests: { readonly placement: PlacementName; readonly guest: Guest }[] = []
    for (const each of [placement, beside] as const) {
      guests.push({ placement: each, guest: await onboard(operator, each, made) })
    }
    const neighbours = guests.map(
      ({ guest, placement: each }) => new Neighbour({ ...guest, placement: each, url, lastName: secret }),
    )
    // The tenants of `row` have no login of their own.
    const victim = guests.find(({ placement: each }) => each !== 'row')?.guest
    if (victim === undefined) throw new Error('bug: one of the neighbours has a login')
    for (const neighbour of neighbours) await neighbour.answers()
    const hex = hexOf(victim.id)
    const field = new BattleField(options, placement, {
      operator,
      neighbours,
      victim: { id: victim.id, hex, login: `tb_${hex}`, secret },
      made,
      watch,
    })
    await field.#plantSecret()
    return field
  }

  /** fight lets three tenants attack, and resolves when all is calm again. */
  async fight(attack: SiegeAttack): Promise<Battle> {
    const { sizes, seconds } = this.#options
    this.#operator = operatorOf(this.#options, attack.operatorBoundMs ?? OPERATOR_BOUND_MS)
    const { attackers, endVisit } = await this.#muster()
    const victim = { ...this.#victim, login: await this.#loginOf(this.#victim) }
    const raiders = new Raiders({ attack, attackers, victim, sizes })
    await raiders.prepare()

    const watchdogBefore = await this.#watchdogCounts()
    const begun = performance.now()
    const quiet = new AbortController()
    const felt = this.#neighbours.map((neighbour) => neighbour.load(CALLERS, quiet.signal))
    const evicting = setInterval(() => this.#evict(), EVICT_MS)
    const actions: Action[] = []
    let finding: Finding | undefined
    try {
      raiders.start()
      await sleep(LEAD_MS)
      actions.push(...(await this.#lookAfterOthers()))
      await sleep(Math.max(0, seconds * 1000 - (performance.now() - begun)))
      finding = await this.#find(attack, attackers, victim, raiders.notes)
      actions.push(...(await this.#shutOut(attack, attackers, endVisit)))
    } catch (error) {
      await raiders.stop()
      throw error
    } finally {
      clearInterval(evicting)
      quiet.abort()
    }
    const raiding = raiders.stop()
    const durationMs = performance.now() - begun
    const [raid] = await Promise.all([raiding, this.#endSessions(attackers)])
    const neighbours: readonly NeighbourFigures[] = await Promise.all(felt)
    const watchdog = since(watchdogBefore, await this.#watchdogCounts())
    const left = await this.#cleanUp(attackers)
    const { name, about, operatorBoundMs = OPERATOR_BOUND_MS, unbounded } = attack
    const broken = brokenBounds({ neighbours, actions, finding, operatorBoundMs })
    return {
      attack: name,
      about,
      placement: this.#placement,
      durationMs,
      neighbours,
      actions,
      raid,
      watchdog,
      finding,
      operatorBoundMs,
      left,
      broken,
      unbounded,
    }
  }

  /** close deletes the neighbours and all that is left, and resolves with what it could not, a sentence each. */
  async close(): Promise<readonly string[]> {
    await this.#removeAll([...this.#made])
    const left: string[] = []
    for (const id of this.#stuck) {
      await clearAway(this.#watch, hexOf(id)).catch((error) => left.push(`tenant ${id}: ${describe(error)}`))
    }
    return left
  }

  async #muster(): Promise<Siegers> {
    const { locate, signal, visits } = this.#options
    const visited = new Map<string, Awaited<ReturnType<Visits['open']>>>()
    const attackers: Attacker[] = []
    for (const part of PARTS) {
      const { id } = await onboard(this.#operator, this.#placement, this.#made)
      attackers.push({
        id,
        part,
        hex: hexOf(id),
        placement: this.#placement,
        target: await (this.#placement === 'row'
          ? this.#visit(id, visited)
          : locate({ tenantId: id, generation: 1 }, signal)),
      })
    }
    return {
      attackers,
      async endVisit({ id }) {
        const visit = visited.get(id)
        if (visit !== undefined) await visits.close(visit)
      },
    }
  }

  /** As `lessor connect` does it. */
  async #visit(
    tenantId: string,
    visited: Map<string, Awaited<ReturnType<Visits['open']>>>,
  ): Promise<ConnectionTarget> {
    const visit = await this.#options.visits.open({ tenantId, visitor: 'siege', minutes: 60, writes: true })
    visited.set(tenantId, visit)
    const { role, password, database, parameters } = visit
    return { ...wayOf(visit), server: 'siege', user: role, password, database, parameters }
  }

  /** What operators do for tenants that have no part in it: two of them, side by side. */
  async #lookAfterOthers(): Promise<readonly Action[]> {
    const [first, second] = await Promise.all([this.#lookAfterThird(), this.#rotateVictim()])
    return [...first, ...second]
  }

  async #lookAfterThird(): Promise<readonly Action[]> {
    const operator = this.#operator
    let third: string | undefined
    const onboarded = await operator.onboard(this.#placement, (id) => {
      this.#made.add(id)
      third = id
    })
    if (third === undefined) return [onboarded]
    return [
      onboarded,
      await operator.move('suspend', third),
      await operator.move('resume', third),
      await operator.remove(third),
      await operator.settled('deleted', third, ({ status }) => status === 'deleted'),
    ]
  }

  async #rotateVictim(): Promise<readonly Action[]> {
    const { id } = this.#victim
    const rotated = { ...(await this.#operator.move('rotate-credential', id)), name: 'rotate' }
    if (!rotated.isDone) return [rotated]
    return [rotated, await this.#operator.settled('old login dropped', id, ({ job }) => job === null)]
  }

  /** The three ways to end what a leaked login does, all at once. */
  async #shutOut(
    attack: SiegeAttack,
    attackers: readonly Attacker[],
    endVisit: (attacker: Attacker) => Promise<void>,
  ): Promise<readonly Action[]> {
    const all = await Promise.all(
      attackers.map(async (attacker) => {
        const { id, part } = attacker
        const begun = performance.now()
        const asked = await this.#ask(part, attacker, endVisit)
        if (!asked.isDone) return [asked]
        const left = Math.max(POLL_MS, Math.ceil(this.#operator.patienceMs - (performance.now() - begun)))
        const out = await this.#operator.act(
          `${SHUT_OUT}, ${part}`,
          () => this.#isOut(attacker).catch(describe),
          left,
        )
        // Counted from when it was asked for.
        const shutOut = { ...out, ms: performance.now() - begun }
        if (part !== 'deleted' || attack.isSlowToDelete === true) return [asked, shutOut]
        const isGone = ({ status }: { readonly status: string }) => status === 'deleted'
        return [asked, shutOut, await this.#operator.settled('attacker deleted', id, isGone)]
      }),
    )
    return all.flat()
  }

  async #ask(
    part: Part,
    attacker: Attacker,
    endVisit: (attacker: Attacker) => Promise<void>,
  ): Promise<Action> {
    const { id } = attacker
    if (part === 'deleted') return { ...(await this.#operator.remove(id)), name: 'delete attacker' }
    if (part === 'suspended')
      return { ...(await this.#operator.move('suspend', id)), name: 'suspend attacker' }
    if (attacker.placement !== 'row') {
      return { ...(await this.#operator.move('rotate-credential', id)), name: 'rotate attacker' }
    }
    return this.#operator.act('end visit', (signal) =>
      Promise.race([
        endVisit(attacker).then(() => undefined, describe),
        aborted(signal).then(() => 'no answer in time'),
      ]),
    )
  }

  /** Undefined when the leaked login has no session and gets none. */
  async #isOut({ target }: Attacker): Promise<string | undefined> {
    const [row] = await this.#look(`select
      (select count(*) from pg_stat_activity where usename = '${target.user}'),
      (select count(*) from pg_roles where rolname = '${target.user}' and rolcanlogin and rolconnlimit <> 0)`)
    const [sessions, roles] = (row ?? []).map(Number)
    if (sessions === 0 && roles === 0) return undefined
    return roles === 0 ? 'sessions left' : 'the login still works'
  }

  async #find(
    attack: SiegeAttack,
    attackers: readonly Attacker[],
    victim: Victim,
    notes: readonly string[],
  ): Promise<Finding | undefined> {
    if (attack.find === undefined) return undefined
    try {
      return await attack.find({ run: (text) => this.#look(text), attackers, victim, notes })
    } catch (error) {
      return { text: `not found: ${describe(error)}`, holds: false }
    }
  }

  #watchdogCounts() {
    const { url, operatorKey } = this.#options
    return readWatchdogCounts(url, operatorKey)
  }

  #look(text: string) {
    return this.#watch.run(text)
  }

  #evict(): void {
    for (const { id } of this.#neighbours) void this.#options.pools.evict(id, 'operator')
  }

  async #loginOf({ hex }: Victim): Promise<string> {
    const [row] = await this.#look(
      `select rolname from pg_roles where rolname in ('tb_${hex}', 'tg_${hex}') and rolcanlogin`,
    )
    return row?.[0] ?? `tb_${hex}`
  }

  /** Most rows of the neighbours have the secret, as a company's tenant would have its own domain. */
  async #plantSecret(): Promise<void> {
    const [id] = this.#neighbours.map((neighbour) => neighbour.id)
    if (this.#placement !== 'row' && this.#placement !== 'role') return
    await this.#look(`
      insert into app.users (tenant_id, first_name, last_name)
        select '${id}', 'Siege', '${this.#victim.secret}' from generate_series(1, ${SECRET_ROWS});
      insert into app.users (tenant_id, first_name, last_name)
        select '${this.#victim.id}', 'Siege', '${this.#victim.secret}' from generate_series(1, ${SECRET_ROWS});
      analyze app.users`)
  }

  async #endSessions(attackers: readonly Attacker[]): Promise<void> {
    const hexes = attackers.map(({ hex }) => hex).join('|')
    await this.#look(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename ~ '(${hexes})'`,
    )
  }

  /** Resolves when the service is well again, with what it could not remove by itself. */
  async #cleanUp(attackers: readonly Attacker[]): Promise<readonly string[]> {
    const hexes = attackers.map(({ hex }) => hex).join('|')
    const prepared = await rollBackPrepared(this.#watch, hexes)
    const left = prepared.map((database) => `prepared transaction in ${database}`)
    const kept = new Set([...this.#neighbours.map(({ id }) => id), this.#victim.id])
    left.push(...(await this.#removeAll([...this.#made].filter((id) => !kept.has(id)))))
    const well = await this.#operator.act(
      'well again',
      async () => {
        const answers = await Promise.all(this.#neighbours.map((neighbour) => neighbour.answers()))
        return answers.every(Boolean) ? undefined : 'not answered'
      },
      CLEAN_UP_MS,
    )
    if (!well.isDone) left.push('a neighbour that is not served')
    const { id } = this.#victim
    const rotated = await this.#operator.settled('rotated', id, ({ job }) => job === null, CLEAN_UP_MS)
    if (!rotated.isDone) left.push(`a rotation of the neighbour: ${rotated.reasons.join(', ')}`)
    return left
  }

  async #removeAll(ids: readonly string[]): Promise<readonly string[]> {
    const left = await Promise.all(
      ids.map(async (id) => {
        const asked = await this.#operator.remove(id, CLEAN_UP_MS)
        const isGone = ({ status }: { readonly status: string }) => status === 'deleted'
        const gone = await this.#operator.settled('gone', id, isGone, CLEAN_UP_MS)
        // What stays is not waited for a second time.
        this.#made.delete(id)
        const reasons = [...new Set([...asked.reasons, ...gone.reasons])].join(', ')
        if (asked.isDone && gone.isDone) return []
        this.#stuck.add(id)
        return [`tenant ${id} (${reasons})`]
      }),
    )
    return left.flat()
  }
}

function operatorOf({ operatorKey: key, patienceMs, signal, url }: SiegeOptions, boundMs: number): Operator {
  return new Operator({ url, key, patienceMs: patienceMs ?? boundMs + PATIENCE_MS, signal })
}

async function onboard(operator: Operator, placement: PlacementName, made: Set<string>): Promise<Guest> {
  let guest: Guest | undefined
  const action = await operator.onboard(
    placement,
    (id, key) => {
      made.add(id)
      guest = { id, key }
    },
    CLEAN_UP_MS,
  )
  if (guest === undefined) throw new Error(`no tenant could be onboarded: ${action.reasons.join(', ')}`)
  return guest
}

/** Without an `a`, which an attacker would guess first. */
function secretName(): string {
  const letters = 'bcdefghijklmnopqrstuvwxyz'
  return [...randomBytes(8)].map((byte) => letters[byte % letters.length]).join('')
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
