import { dataFiles } from '../../src/control/data-files.ts'
import { DatabasePlacement } from '../../src/placement/database-placement.ts'
import type { Placement } from '../../src/placement/placement.ts'
import { RolePlacement } from '../../src/placement/role-placement.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { SchemaPlacement } from '../../src/placement/schema-placement.ts'
import { DataServers, type DataServersOptions } from '../../src/servers/data-servers.ts'
import { generateVaultKeys, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'

/** openServers makes the data servers of one process, with a vault of its own unless one is given. */
export function openServers(
  options: Omit<DataServersOptions, 'vault'> & Partial<DataServersOptions>,
): DataServers {
  return new DataServers({ vault: makeVault(), ...options })
}

export function makeVault(keys = generateVaultKeys()): Vault {
  return new Vault(parseVaultKeys(keys))
}

/** allPlacements are the placements as the service wires them. */
export function allPlacements(): readonly Placement[] {
  const files = dataFiles()
  return [
    new RolePlacement({ files }),
    new RowPlacement({ files }),
    new SchemaPlacement({ files }),
    new DatabasePlacement({ files }),
  ]
}
