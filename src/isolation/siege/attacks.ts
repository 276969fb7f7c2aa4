import { CROWD_ATTACKS } from './crowd-attacks.ts'
import { LOAD_ATTACKS } from './load-attacks.ts'
import { LOCK_ATTACKS, TABLE_ATTACKS } from './lock-attacks.ts'
import { ROLE_ATTACKS } from './role-attacks.ts'
import { EVERYWHERE, type SiegeAttack } from './siege-attack.ts'

/** CALM is what the others are compared with: the neighbours and the operator at work, and attackers that do nothing. */
export const CALM: SiegeAttack = {
  name: 'calm',
  about: 'Nothing',
  placements: EVERYWHERE,
  sessions: 0,
  async act() {},
}

/** ATTACKS is every attack that is known. */
export const ATTACKS: readonly SiegeAttack[] = [
  ...LOCK_ATTACKS,
  ...TABLE_ATTACKS,
  ...ROLE_ATTACKS,
  ...CROWD_ATTACKS,
  ...LOAD_ATTACKS,
]
