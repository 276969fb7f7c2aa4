import { type Config, ConfigError } from './config.ts'
import { VARIABLE_NAMES } from './config-variables.ts'
import { MigrationError } from './control/migrate.ts'
import { VaultKeysError } from './control/vault-keys.ts'
import { EmbeddedError, hasCode } from './embedded/errors.ts'
import { LessorError } from './errors.ts'

const EXPECTED = [ConfigError, EmbeddedError, MigrationError, VaultKeysError]

/**
 * startError says, to whoever started the service, why it does not start; undefined for an error that
 * nobody expects.
 */
export function startError(error: unknown, { host, port }: Config['http']): string | undefined {
  if (error instanceof LessorError) return withCause(error)
  const expected = EXPECTED.find((kind) => error instanceof kind)
  if (expected !== undefined && error instanceof expected) return error.message
  if (hasCode(error, 'EADDRINUSE')) {
    return `Port ${port} of ${host} is in use. Stop what listens there, or set PORT; 0 takes a free one.`
  }
  if (hasCode(error, 'EADDRNOTAVAIL', 'ENOTFOUND')) {
    return `This machine has no address ${host}. Set HOST to one that it has, or to 0.0.0.0 for all.`
  }
  if (hasCode(error, 'EACCES') && hasSyscall(error, 'listen')) {
    return `This user may not listen on port ${port}. Set PORT to 1024 or more.`
  }
  return undefined
}

/** argumentsRefused says what is set by a variable and not by an argument: a service that ignored it would listen elsewhere. */
export function argumentsRefused(args: readonly string[]): string {
  const [, option = '', given] = /^--([\w-]+)(?:=(.*))?$/.exec(args[0] ?? '') ?? []
  const name = VARIABLE_NAMES.find((each) => each === option.toUpperCase().replaceAll('-', '_'))
  const instead =
    name === undefined
      ? 'Set variables of .env.example in the environment or in .env.'
      : `Set ${name}=${given ?? args[1] ?? ''} in the environment or in .env.`
  return `The service takes no arguments, and got ${args.join(' ')}. ${instead}`
}

function withCause({ message, cause }: LessorError): string {
  return cause instanceof Error ? `${message} ${cause.message}` : message
}

function hasSyscall(error: NodeJS.ErrnoException, syscall: string): boolean {
  return error.syscall === syscall
}
