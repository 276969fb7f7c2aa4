import { LessorError } from '../errors.ts'
import type { Db } from '../pool/statement.ts'
import { decodeCursor, type Page, toPage } from './cursor.ts'
import { nameKey, parseNamespaceName } from './name.ts'
import type { Namespace } from './namespace.ts'
import { findNamespace, insertNamespace, listNamespaces } from './namespace-store.ts'

/** NamespaceService makes and lists namespaces. */
export class NamespaceService {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  /** create makes a namespace. @throws LessorError INVALID_REQUEST, NAMESPACE_NAME_TAKEN */
  async create(name: string): Promise<Namespace> {
    const namespace = await insertNamespace(this.#db, parseNamespaceName(name))
    if (namespace === undefined) {
      throw new LessorError('NAMESPACE_NAME_TAKEN', `There is a namespace "${name}".`)
    }
    return namespace
  }

  /** find resolves with a namespace by name, whatever its case. */
  async find(name: string): Promise<Namespace | undefined> {
    return findNamespace(this.#db, nameKey(name))
  }

  /** list resolves with one page by name. @throws LessorError INVALID_REQUEST */
  async list(options: { readonly limit: number; readonly cursor?: string }): Promise<Page<Namespace>> {
    const [after = ''] = options.cursor === undefined ? [] : decodeCursor(options.cursor, [/^[^\0]{1,63}$/])
    const rows = await listNamespaces(this.#db, { limit: options.limit + 1, after })
    return toPage(rows, options.limit, (last) => [last.key])
  }
}

/** requireNamespace finds a namespace by name. @throws LessorError NAMESPACE_NOT_FOUND */
export async function requireNamespace(db: Db, name: string): Promise<Namespace> {
  const namespace = await findNamespace(db, nameKey(name))
  if (namespace === undefined) {
    throw new LessorError('NAMESPACE_NOT_FOUND', `There is no namespace "${name}".`)
  }
  return namespace
}
