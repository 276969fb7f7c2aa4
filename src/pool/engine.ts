import type { Clock } from '../clock.ts'
import type { Breakers } from './breakers.ts'
import type { Budgets } from './budgets.ts'
import type { Connect, PoolLimits, PoolObserver } from './contract.ts'
import type { MutableCounters } from './counters.ts'
import type { Crowds } from './crowds.ts'
import type { Pauses } from './pauses.ts'
import type { Slot, SlotOwner } from './slot.ts'
import type { WaitingRoom } from './waiting-room.ts'

/** Engine is what the pools of one registry share. Made by the registry, which owns every part. */
export interface Engine {
  readonly clock: Clock
  readonly limits: PoolLimits
  readonly connect: Connect
  readonly observer: PoolObserver
  readonly counters: MutableCounters
  readonly budgets: Budgets
  readonly breakers: Breakers
  readonly crowds: Crowds
  readonly pauses: Pauses
  readonly room: WaitingRoom
  /** Every slot that is not closed, with its pool; bounded by the budgets, not by what is resident. */
  readonly slots: Map<Slot, SlotOwner>
  /** wake makes sure that deadlines are looked after from now on. */
  wake(): void
}
