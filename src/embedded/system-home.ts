import { chmod, mkdir } from 'node:fs/promises'

/** SYSTEM_HOME holds, for root, what the account of PostgreSQL cannot reach where it lies. */
export const SYSTEM_HOME = '/var/lib/lessor'

/** makeSystemHome makes it, open for everyone to pass through whatever the umask is. */
export async function makeSystemHome(): Promise<void> {
  await mkdir(SYSTEM_HOME, { recursive: true })
  await chmod(SYSTEM_HOME, 0o755)
}
